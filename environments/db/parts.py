"""The parts of a task over drawn tables, each of which can be as in training: for a diagnosis.

A score on tasks that differ from training in everything does not say what it fails at. So one part
after the other is drawn as for `train`, the others as for the split that is measured on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from agentlm.environments.task import Split

Part = Literal["table", "columns", "values", "phrasing", "schema"]
"""Words of the table's name, of its columns' names, values, ways of asking, forms of a schema."""


@dataclass(frozen=True)
class Parts:
    """Which split each part is drawn from."""

    split: Split
    known: Collection[Part] = ()
    """Those that are as in training."""

    def of(self, part: Part) -> Split:
        return "train" if part in self.known else self.split
