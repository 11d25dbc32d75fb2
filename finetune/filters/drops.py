"""What was left out of a data set: how many rows by which filter, with examples and reasons."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from agentlm.errors import OperatorError
from agentlm.finetune.filters.rules import Refused

KINDS = 12
"""How many kinds of reason are counted separately for each filter."""
SHOWN = 3
"""How many kinds of a filter's reasons get a line each."""
_VALUES = re.compile(r"got .*|'[^']*'|\"[^\"]*\"|\d+", re.DOTALL)
"""The parts of a reason that differ within one kind."""


class NothingLeft(OperatorError):
    """There are rows, and the filters or their rewards leave none of them to learn from."""


@dataclass
class Example:
    """A row that was left out."""

    trajectory: str
    """File and line, or the id in the log."""
    reason: str
    count: int = 0
    """Number of rows that were left out for this kind of reason."""


@dataclass
class Drops:
    """Number of rows, and what happened to those that are not trained on."""

    rows: int = 0
    kept: int = 0
    scrubbed: Counter[str] = field(default_factory=Counter)
    """Secrets that were replaced, by kind."""
    rendered_anew: int = 0
    """Number of kept rows with ids of another tokenizer or template. They are learned as this one
    renders their text, which differs from what was served."""
    out_of_form: int = 0
    """Number of kept rows without the Thought that the served form requires, or with one that it
    does not have."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of rows that each filter left out, in the order of the filters."""
    examples: dict[str, dict[str, Example]] = field(default_factory=lambda: defaultdict(dict))
    """For each filter, an example of each kind of reason."""

    @property
    def left(self) -> int:
        """Number of rows that no filter has left out so far."""
        return self.rows - self.counts.total()

    def add(self, row: str, refused: Refused) -> None:
        """Count a row that a filter left out."""
        self.counts[refused.filter] += 1
        examples, kind = self.examples[refused.filter], _VALUES.sub("", refused.reason)
        if kind not in examples:
            if len(examples) == KINDS:
                return
            examples[kind] = Example(row, refused.reason)
        examples[kind].count += 1

    def summary(self) -> str:
        """One line for people."""
        parts = [f"{name} {count}" for name, count in self.counts.items() if count]
        anew = f", {self.rendered_anew} of them rendered anew" if self.rendered_anew else ""
        form = (
            f"; {self.out_of_form} of them are not in the form that is served: without a Thought "
            "where one is asked for (--no-thoughts asks for none), or with one where none is"
            if self.out_of_form
            else ""
        )
        left_out = ", ".join(parts) or "none"
        return f"{self.rows} rows; left out: {left_out}; kept {self.kept}{anew}{form}"

    def to_json(self) -> dict[str, Any]:
        """For selection.json and the report."""
        return {
            "summary": self.summary(),
            "rows": self.rows,
            "kept": self.kept,
            "dropped": {name: count for name, count in self.counts.items() if count},
            "examples": {
                name: [asdict(one) for one in examples.values()]
                for name, examples in self.examples.items()
            },
            "scrubbed": self.scrubbed,
            "rendered_anew": self.rendered_anew,
            "out_of_form": self.out_of_form,
        }

    def check(self) -> None:
        """Raise OperatorError if there are no rows, NothingLeft if none is left to train on."""
        if not self.rows:
            raise OperatorError("nothing to train on: the log is empty and no file has rows")
        if not self.kept:
            first = next((one for kinds in self.examples.values() for one in kinds.values()), None)
            why = f"; {first.trajectory}: {first.reason}" if first else ""
            raise NothingLeft(f"nothing is left to train on: {self.summary()}{why}")


def example_lines(selection: Mapping[str, Any], most: int = SHOWN) -> Iterator[str]:
    """What was left out of one source of selection.json: an example of each kind, with its place.

    If a filter has more than `most` kinds of reason, only the first ones.
    """
    for name, examples in selection["examples"].items():
        for one in examples[:most]:
            # Runs that began before examples were counted have none.
            more = one.get("count", 1)
            rows = f" ({more:,} such rows)" if more > 1 else ""
            yield f"{name}: {one['trajectory']}: {one['reason']}{rows}"
