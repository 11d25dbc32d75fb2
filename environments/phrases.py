"""Ways of saying: one sentence with choices in it stands for many phrasings.

`<name>` stands for one of the alternatives that a phrasebook has under `name`, and `<name: words>`
for one with the words in place of its `%`. Alternatives belong to splits, so that whole ways of
stating a task can be held out; those of a plain list may come in any split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from agentlm.environments.data_files import read_yaml
from agentlm.environments.task import Split

Alternatives = tuple[str, ...] | dict[Split, tuple[str, ...]]
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

    def phrasings(self, sentences: Alternatives, split: Split) -> tuple[str, ...]:
        """All that these sentences stand for in a split, in a fixed order."""
        written = (text for sentence in of(sentences, split) for text in self._all(sentence, split))
        return tuple(dict.fromkeys(_SENTENCE.sub(_upper, text) for text in written))

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
    if isinstance(alternatives, dict):
        return alternatives["test" if split == "test-kinds" else split]
    return alternatives


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
