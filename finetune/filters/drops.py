"""What was left out of a data set: how many by which filter, with examples and reasons."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from agentlm.errors import OperatorError
from agentlm.finetune.filters.rules import Refused

KINDS = 12
"""Kinds of reason that are told apart for each filter."""
SHOWN = 3
"""Kinds of one filter that are worth a line each."""
_VALUES = re.compile(r"got .*|'[^']*'|\"[^\"]*\"|\d+", re.DOTALL)
"""What differs in reasons of one kind."""


@dataclass
class Example:
    """A row that was left out."""

    trajectory: str
    """File and line; of the log, its id."""
    reason: str
    count: int = 0
    """Rows that were left out for a reason of this kind."""


@dataclass
class Drops:
    """How many rows there were, and what became of those that are not trained on."""

    rows: int = 0
    """Trajectories that were there."""
    kept: int = 0
    scrubbed: Counter[str] = field(default_factory=Counter)
    """Secrets that were replaced, by kind."""
    rendered_anew: int = 0
    """Kept rows whose ids are of another tokenizer or template: they are learned as this one
    renders their text, which differs from what was served."""
    out_of_form: int = 0
    """Kept rows that act without the Thought that the served form asks for, or with one that it
    does not know."""
    counts: Counter[str] = field(default_factory=Counter)
    """Rows that each filter left out, in the order in which the filters saw them."""
    examples: dict[str, dict[str, Example]] = field(default_factory=lambda: defaultdict(dict))
    """Of each filter, one for each kind of reason."""

    @property
    def left(self) -> int:
        """Rows that no filter has left out so far."""
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
        """Raise OperatorError if nothing is left to train on."""
        if not self.rows:
            raise OperatorError("nothing to train on: the log is empty and no file has rows")
        if not self.kept:
            first = next((one for found in self.examples.values() for one in found.values()), None)
            why = f"; {first.trajectory}: {first.reason}" if first else ""
            raise OperatorError(f"nothing is left to train on: {self.summary()}{why}")


def example_lines(selection: Mapping[str, Any], most: int = SHOWN) -> Iterator[str]:
    """What was left out of one source of selection.json: an example of each kind, with its place.

    Of a filter that has more kinds of reason than `most`, the first ones.
    """
    for name, examples in selection["examples"].items():
        for one in examples[:most]:
            # A run that was begun before examples were counted has none.
            more = one.get("count", 1)
            rows = f" ({more:,} such rows)" if more > 1 else ""
            yield f"{name}: {one['trajectory']}: {one['reason']}{rows}"
