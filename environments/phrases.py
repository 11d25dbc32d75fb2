"""Ways of saying: one sentence with choices in it stands for many phrasings.

`<name>` stands for one of the alternatives that a phrasebook has under `name`, and `<name: words>`
for one with the words in place of its `%`. Alternatives belong to splits, so that whole ways of
stating a task can be held out; those of a plain list, or under `any`, may come in any split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Literal

from agentlm.environments.data_files import read_yaml
from agentlm.environments.task import Split

Alternatives = tuple[str, ...] | dict[Split | Literal["any"], tuple[str, ...]]
"""For every split, or by split."""

_VOWEL = re.compile(
    r"[\"'`]?(?:(?!(?:one|uni|use|usu|eur|ut[ie])\w*)[aeiou]|hour|hono|hones|heir)", re.IGNORECASE
)
_ARTICLE = re.compile(r"\b([Aa])n? (?=\{(\w+)\})")
_SENTENCE = re.compile(r"(?:^|(?<=[.?!] ))[a-z]")


class Phrasebook:
    """Alternatives by name: those that all families share, and one family's own."""

    def __init__(self, own: Mapping[str, Alternatives]) -> None:
        self._alternatives = {**read_yaml("agentlm.environments", "phrases.yaml"), **own}

    def phrasings(self, sentences: Alternatives, split: Split) -> dict[str, float]:
        """What these sentences stand for in a split, in a fixed order, with weights for training.

        A sentence with many choices comes up more often than one with few, by the root of their
        numbers: if all phrasings were equally likely, one sentence with two hundred of them would
        drown the rest, and a model would know a kind of task by that sentence alone.
        """
        weights: dict[str, float] = {}
        for sentence in of(sentences, split):
            written = [_SENTENCE.sub(_upper, text) for text in self._all(sentence, split)]
            weights |= {text: len(written) ** -0.5 for text in written if text not in weights}
        return weights

    def alternatives(self, name: str, split: Split) -> Sequence[str]:
        """What a split may say for one name."""
        return of(self._alternatives[name], split)

    def _all(self, text: str, split: Split) -> Iterator[str]:
        begin = text.find("<")
        if begin < 0:
            yield text
            return
        end = _closing(text, begin)
        name, _, words = text[begin + 1 : end].partition(": ")
        for alternative in self.alternatives(name, split):
            chosen = alternative.replace("%", words)
            yield from self._all(f"{text[:begin]}{chosen}{text[end + 1 :]}", split)


def of(alternatives: Alternatives, split: Split) -> Sequence[str]:
    """Those of a split; kinds that are held out are put in the words of `test`."""
    if not isinstance(alternatives, dict):
        return alternatives
    own = "test" if split == "test-kinds" else split
    return *alternatives.get("any", ()), *alternatives.get(own, ())


def drawn(weights: Sequence[float], split: Split, random: Random) -> int:
    """The number of a phrasing, by chance: by weight in training, all alike in the frozen sets."""
    if split != "train":
        return random.randrange(len(weights))
    return random.choices(range(len(weights)), weights)[0]


def with_articles(text: str, words: Mapping[str, str]) -> str:
    """`a {slot}` and `an {slot}` as what fills the slot wants it."""

    def article(match: re.Match[str]) -> str:
        return f"{match[1]}{'n' if _VOWEL.match(words[match[2]]) else ''} "

    return _ARTICLE.sub(article, text)


@cache
def phrasebook(package: str) -> Phrasebook:
    """The ways of saying of a family, `phrases.yaml` in its package."""
    return Phrasebook(read_yaml(package, "phrases.yaml"))


def _closing(text: str, begin: int) -> int:
    depth = 0
    for index in range(begin, len(text)):
        depth += {"<": 1, ">": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"a choice is not closed: {text}")


def _upper(match: re.Match[str]) -> str:
    return match[0].upper()
