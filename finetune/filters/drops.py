"""What was left out of a data set: how many by which filter, with examples and reasons."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from agentlm.errors import OperatorError
from agentlm.finetune.filters.rules import Refused

EXAMPLES = 3
"""Kept for each filter."""


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
    counts: Counter[str] = field(default_factory=Counter)
    """Rows that each filter left out, in the order in which the filters saw them."""
    examples: dict[str, list[dict[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """A few of them, with the reason."""

    @property
    def left(self) -> int:
        """Rows that no filter has left out so far."""
        return self.rows - self.counts.total()

    def add(self, trajectory_id: str, refused: Refused) -> None:
        """Count a row that a filter left out."""
        self.counts[refused.filter] += 1
        if len(self.examples[refused.filter]) < EXAMPLES:
            example = {"trajectory": trajectory_id, "reason": refused.reason}
            self.examples[refused.filter].append(example)

    def summary(self) -> str:
        """One line for people."""
        parts = [f"{name} {count}" for name, count in self.counts.items() if count]
        anew = f", {self.rendered_anew} of them rendered anew" if self.rendered_anew else ""
        return f"{self.rows} rows; left out: {', '.join(parts) or 'none'}; kept {self.kept}{anew}"

    def to_json(self) -> dict[str, Any]:
        """For selection.json and the report."""
        return {
            "summary": self.summary(),
            "rows": self.rows,
            "kept": self.kept,
            "dropped": {name: count for name, count in self.counts.items() if count},
            "examples": self.examples,
            "scrubbed": self.scrubbed,
            "rendered_anew": self.rendered_anew,
        }

    def check(self) -> None:
        """Raise OperatorError if nothing is left to train on."""
        if not self.rows:
            raise OperatorError("nothing to train on: the log is empty and no file has rows")
        if not self.kept:
            first = next((found[0] for found in self.examples.values() if found), None)
            why = f"; {first['trajectory']}: {first['reason']}" if first else ""
            raise OperatorError(f"nothing is left to train on: {self.summary()}{why}")
