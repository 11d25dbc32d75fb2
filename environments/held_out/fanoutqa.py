"""FanOutQA: questions whose answer takes a page for each of several things, by Zhu and others at
the University of Pennsylvania (CC BY-SA; 310 with answers, package `fanoutqa`).

Its articles of Wikipedia can't be had without a network. The search here is over pages made of the
set's own sub-questions and their answers, one page for each article that they name: scores can't be
compared with FanOutQA's. The score is its loose accuracy, the share of the answer's strings that
are found. Numbers and punctuation are normalised as it does, words are not reduced to lemmas, and a
string may end in a sign (100%), which its own code never finds.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from agentlm.environments.adapters.loading import folder_of
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.held_out.splits import held_out
from agentlm.environments.task import Action, Move, Split
from agentlm.tools.web.index import Index, build_index

NAME = "fanoutqa"
INSTALL = "pip install --no-deps fanoutqa==1.1.1"
"""Only its file is read; what it depends on would bring spaCy."""
_RESULTS = 5
_TURNS = 20


def world_of(_: str) -> type[World]:
    """The questions. Raises OperatorError if the package is missing."""
    file = folder_of("fanoutqa", INSTALL) / "data/fanout-final-dev.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    with TemporaryDirectory() as directory:  # the file lives as long as it is open
        path = Path(directory) / "pages"
        build_index(path, _pages(rows))
        index = Index(path)
    members = {"rows": rows, "index": index, "__doc__": _Question.__doc__}
    return type("FanOutQa", (_Question,), members)


class _Question(World):
    """Answer a question that takes several pages. Find them with `search`, read them with `read`,
    and answer with all that is asked for: each name beside what belongs to it.
    """

    max_turns = _TURNS
    rows: list[dict[str, Any]]
    index: Index

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        held_out(NAME, split, "test")
        for row in Random(seed).sample(cls.rows, len(cls.rows)):
            gold = tuple(_gold(row))
            yield Problem(
                row["question"],
                {"id": row["id"], "wanted": row["answer"]},
                family=f"{min(len(row['decomposition']), 6)} parts",
                gold=gold if len(gold) <= _TURNS + 1 else (),
            )

    def search(self, query: str) -> str:
        """Titles of pages that have words of the query, each with a line of it."""
        hits = self.index.search(query, _RESULTS)
        return "\n".join(f"{title}: {line}" for title, _, line in hits) or "nothing found"

    def read(self, title: str) -> str:
        """The page with this very title."""
        return self.index.text(title) or f"there is no page {title!r}: search for it"

    def score(self, answer: str) -> float:
        """The share of what is asked for that stands in the answer."""
        wanted = list(_strings(self.parameters["wanted"]))
        text = _normal(answer)
        matches = [re.search(rf"(?<!\w){re.escape(_normal(each))}(?!\w)", text) for each in wanted]
        return sum(each is not None for each in matches) / len(wanted)


def _parts(question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The sub-questions, those of sub-questions first."""
    for part in question["decomposition"]:
        yield from _parts(part)
        yield part


def _pages(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    pages: dict[str, dict[str, None]] = defaultdict(dict)
    for part in (part for row in rows for part in _parts(row)):
        if part["evidence"]:
            answer = ", ".join(_strings(part["answer"]))
            pages[part["evidence"]["title"]][f"{part['question']} {answer}"] = None
    return ((title, title, "\n".join(facts)) for title, facts in pages.items())


def _gold(row: dict[str, Any]) -> Iterator[Move]:
    titles = [part["evidence"]["title"] for part in _parts(row) if part["evidence"]]
    for title in islice(dict.fromkeys(titles), _TURNS):
        yield Move(
            thought=f"I need {title}.", action=Action(name="read", arguments={"title": title})
        )
    answer = ", ".join(_strings(row["answer"]))
    yield Move(thought="That is all.", answer=answer)


def _strings(value: Any) -> Iterator[str]:
    """All that an answer holds, each name before what belongs to it."""
    if isinstance(value, dict):
        for name, of in value.items():
            yield name
            yield from _strings(of)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    else:
        yield ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _normal(text: str) -> str:
    text = re.sub(r"(\d+,)+\d+(\.\d+)?", lambda number: number[0].replace(",", ""), text.lower())
    return re.sub(r"\s+", " ", re.sub(r"[,.?!:;]", "", text))
