"""WordNet 3.0 as a graph, from the files of Debian's `wordnet-base`.

A synset is named as people do: first lemma, part of speech, number of that sense of the lemma
(`wn:dog.n.01`). Licence: WordNet's own, which permits use and redistribution with its notice
(/usr/share/doc/wordnet-base/copyright).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentlm.tools.graph.names import ALTERNATIVE, LABEL, PREFIXES, RDF_TYPE, minted
from agentlm.tools.graph.ntriples import link, number, text

FOLDER = Path("/usr/share/wordnet")
LICENCE = "WordNet 3.0 licence (Princeton University), permissive"

_FILES = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_TYPES = {"n": "Noun", "v": "Verb", "a": "Adjective", "s": "Adjective", "r": "Adverb"}
_POINTERS = {
    "!": "antonym",
    "@": "hypernym",
    "@i": "instance_hypernym",
    "~": "hyponym",
    "~i": "instance_hyponym",
    "#m": "member_holonym",
    "#s": "substance_holonym",
    "#p": "part_holonym",
    "%m": "member_meronym",
    "%s": "substance_meronym",
    "%p": "part_meronym",
    "=": "attribute",
    "+": "derivationally_related",
    ";c": "topic_domain",
    "-c": "topic_member",
    ";r": "region_domain",
    "-r": "region_member",
    ";u": "usage_domain",
    "-u": "usage_member",
    "*": "entailment",
    ">": "cause",
    "^": "also_see",
    "$": "verb_group",
    "&": "similar_to",
    "<": "participle_of",
    "\\": "pertainym",
}


@dataclass(frozen=True, slots=True)
class _Synset:
    key: tuple[str, str]
    """Part of speech (of the file) and offset."""
    kind: str
    lemmas: list[str]
    pointers: list[tuple[str, tuple[str, str]]]
    gloss: str


def triples(folder: Path = FOLDER) -> Iterator[str]:
    """The graph in N-Triples."""
    senses = {pos: _senses(folder / f"index.{file}") for file, pos in _FILES.items()}
    synsets = [
        synset for file, pos in _FILES.items() for synset in _synsets(folder / f"data.{file}", pos)
    ]
    names = {synset.key: _name(synset, senses[synset.key[0]]) for synset in synsets}
    for name in sorted(set(_TYPES.values())):
        yield text(PREFIXES["wn"] + name, LABEL, name.lower())
    for synset in synsets:
        yield from _describe(synset, names)


def _describe(synset: _Synset, names: dict[tuple[str, str], str]) -> Iterator[str]:
    own, wn = names[synset.key], PREFIXES["wn"]
    yield link(own, RDF_TYPE, wn + _TYPES[synset.kind])
    for index, lemma in enumerate(synset.lemmas):
        yield text(own, ALTERNATIVE if index else LABEL, lemma.replace("_", " "))
    definition, *examples = (part.strip() for part in synset.gloss.split('; "'))
    yield text(own, wn + "definition", definition)
    for example in examples:
        yield text(own, wn + "example", example.strip('"'))
    yield number(own, wn + "lemma_count", len(synset.lemmas))
    for relation, target in dict.fromkeys(synset.pointers):
        yield link(own, wn + relation, names[target])


def _senses(index: Path) -> dict[tuple[str, str], int]:
    """Number of a sense by lemma and offset. Lines of the licence begin with two spaces."""
    numbers = {}
    for line in index.read_text().splitlines():
        if not line.startswith("  "):
            fields = line.split()
            count = int(fields[2])
            for number_, offset in enumerate(fields[-count:], start=1):
                numbers[fields[0], offset] = number_
    return numbers


def _synsets(data: Path, pos: str) -> Iterator[_Synset]:
    for line in data.read_text().splitlines():
        if not line.startswith("  "):
            yield _synset(line, pos)


def _synset(line: str, pos: str) -> _Synset:
    """One line of a data file; its layout is described in wndb(5WN)."""
    head, _, gloss = line.partition("|")
    offset, _, kind, words, *rest = head.split()
    count = 2 * int(words, 16)
    lemmas = [word.partition("(")[0] for word in rest[:count:2]]
    pointers = rest[count + 1 : count + 1 + 4 * int(rest[count])]
    links = [
        (_POINTERS[symbol], (target_pos.replace("s", "a"), target))
        for symbol, target, target_pos, _ in zip(*[iter(pointers)] * 4, strict=True)
    ]
    return _Synset((pos, offset), kind, lemmas, links, gloss.strip())


def _name(synset: _Synset, senses: dict[tuple[str, str], int]) -> str:
    lemma = synset.lemmas[0].lower()
    sense = senses[lemma, synset.key[1]]
    return minted("wn", f"{lemma}.{synset.kind}.{sense:02d}")
