"""Instructions that a program can check, made from a seed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

from agentlm.environments.names import pool, words

_TOPICS = (
    "the sea",
    "a railway station at night",
    "baking bread",
    "a garden in spring",
    "learning a language",
    "an old bridge",
    "the first day of school",
    "rain in the mountains",
    "repairing a bicycle",
    "a lighthouse",
)


class Instruction(NamedTuple):
    """What is asked, and whether an answer does it."""

    text: str
    holds: Callable[[str], bool]


def instructions(count: int, seed: int) -> list[Instruction]:
    """`count` instructions; every kind comes once before any comes again."""
    return list(islice(_stream(seed), count))


def _stream(seed: int) -> Iterator[Instruction]:
    random = Random(f"instructions/{seed}")
    while True:
        for make in KINDS:
            yield make(random)


def _words_exactly(random: Random) -> Instruction:
    n = random.randint(3, 9)
    text = f"Write exactly {n} words about {random.choice(_TOPICS)}, and nothing else."
    return Instruction(text, lambda answer: len(answer.split()) == n)


def _at_most(random: Random) -> Instruction:
    n = random.randint(15, 40)
    text = f"Describe {random.choice(_TOPICS)} in at most {n} words."
    return Instruction(text, lambda answer: 0 < len(answer.split()) <= n)


def _at_least(random: Random) -> Instruction:
    n = random.randint(30, 60)
    text = f"Describe {random.choice(_TOPICS)} in no fewer than {n} words."
    return Instruction(text, lambda answer: len(answer.split()) >= n)


def _lower_case(random: Random) -> Instruction:
    text = f"Write one sentence about {random.choice(_TOPICS)} in lower case letters only."
    return Instruction(text, lambda answer: bool(answer) and answer == answer.lower())


def _upper_case(random: Random) -> Instruction:
    text = f"Write one sentence about {random.choice(_TOPICS)} in capital letters only."
    return Instruction(text, lambda answer: bool(answer) and answer == answer.upper())


def _include(random: Random) -> Instruction:
    word = random.choice(words("noun", "test"))
    text = f"Write a sentence about {random.choice(_TOPICS)} that contains the word {word}."
    return Instruction(text, lambda answer: word in answer.lower())


def _twice(random: Random) -> Instruction:
    word, n = random.choice(words("noun", "test")), random.randint(2, 4)
    text = f"Write about {random.choice(_TOPICS)}; use the word {word} exactly {n} times."
    return Instruction(text, lambda answer: answer.lower().count(word) == n)


def _no_comma(random: Random) -> Instruction:
    text = f"Write two sentences about {random.choice(_TOPICS)} without a single comma."
    return Instruction(text, lambda answer: bool(answer) and "," not in answer)


def _without_letter(random: Random) -> Instruction:
    letter = random.choice("qzxj")
    text = f"Write a sentence about {random.choice(_TOPICS)} without the letter {letter}."
    return Instruction(text, lambda answer: bool(answer) and letter not in answer.lower())


def _bullets(random: Random) -> Instruction:
    n = random.randint(2, 5)
    text = f"List {n} things about {random.choice(_TOPICS)}; begin each of the {n} lines with '- '."
    return Instruction(text, lambda answer: _bullet_count(answer) == n)


def _bullet_count(answer: str) -> int:
    lines = [line for line in answer.splitlines() if line.strip()]
    return len(lines) if all(line.startswith("- ") for line in lines) else 0


def _json_keys(random: Random) -> Instruction:
    keys = random.sample(words("noun", "test"), 2)
    text = f"Answer with one JSON object that has exactly the keys {keys[0]} and {keys[1]}."
    return Instruction(text, lambda answer: _keys(answer) == set(keys))


def _keys(answer: str) -> set[str] | None:
    fenced = re.fullmatch(r"```(?:json)?\n(.*)\n```", answer, re.S)
    try:
        value = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return None
    return set(value) if isinstance(value, dict) else None


def _ending(random: Random) -> Instruction:
    last = f"{random.choice(pool('place', 'test'))} is waiting."
    text = f"Write about {random.choice(_TOPICS)} and end with the sentence: {last}"
    return Instruction(text, lambda answer: answer.endswith(last))


def _beginning(random: Random) -> Instruction:
    word = random.choice(pool("place", "test"))
    text = f"Write a sentence about {random.choice(_TOPICS)} whose first word is {word}."
    return Instruction(text, lambda answer: answer.startswith(word))


def _repeat(random: Random) -> Instruction:
    phrase = f"{random.choice(pool('title', 'test'))} {random.randint(10, 99)}"
    return Instruction(f"Repeat this exactly: {phrase}", lambda answer: answer == phrase)


def _yes_no(random: Random) -> Instruction:
    text = f"Is {random.randint(10, 99)} larger than 5? Answer with the single word yes or no."
    return Instruction(text, lambda answer: answer.lower().strip(".") in ("yes", "no"))


def _number(random: Random) -> Instruction:
    a, b = random.randint(2, 9), random.randint(2, 9)
    text = f"What is {a} plus {b}? Answer with digits only."
    return Instruction(text, lambda answer: answer.isdigit())


def _quoted(random: Random) -> Instruction:
    text = f"Write a title for a story about {random.choice(_TOPICS)} in double quotation marks."
    return Instruction(text, lambda answer: len(answer) > 2 and answer[0] == answer[-1] == '"')


def _paragraphs(random: Random) -> Instruction:
    n = random.randint(2, 4)
    topic = random.choice(_TOPICS)
    text = f"Write {n} short paragraphs about {topic}, separated by one empty line."
    return Instruction(text, lambda answer: len(re.split(r"\n\s*\n", answer)) == n)


KINDS: tuple[Callable[[Random], Instruction], ...] = (
    _words_exactly,
    _at_most,
    _at_least,
    _lower_case,
    _upper_case,
    _include,
    _twice,
    _no_comma,
    _without_letter,
    _bullets,
    _json_keys,
    _ending,
    _beginning,
    _repeat,
    _yes_no,
    _number,
    _quoted,
    _paragraphs,
)
