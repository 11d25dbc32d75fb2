"""Select from the log and filter, with a count and examples of everything that is left out.

What a header tells (owner, outcome, reward) is decided by the database; what only the content
tells, by named filters over a stream of trajectories, in constant memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from agentlm.errors import OperatorError
from agentlm.finetune.rows import Refused
from agentlm.finetune.settings import Selecting
from agentlm.store import Selection, Store

EXAMPLES = 3
_ABOVE_ZERO = 1e-9


@dataclass
class Drops:
    """How many rows there were, and what became of those that are not trained on."""

    rows: int = 0
    """Trajectories in the log."""
    kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Rows that each filter left out, in the order in which the filters saw them."""
    examples: dict[str, list[dict[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """A few of them, with the reason."""

    def add(self, trajectory_id: str, refused: Refused) -> None:
        """Count a row that a filter left out."""
        self.counts[refused.filter] += 1
        if len(self.examples[refused.filter]) < EXAMPLES:
            example = {"trajectory": trajectory_id, "reason": refused.reason}
            self.examples[refused.filter].append(example)

    def summary(self) -> str:
        """One line for people."""
        parts = [f"{name} {count}" for name, count in self.counts.items() if count]
        return f"{self.rows} in the log; left out: {', '.join(parts) or 'none'}; kept {self.kept}"

    def to_json(self) -> dict[str, Any]:
        """For selection.json and the report."""
        counts = {name: count for name, count in self.counts.items() if count}
        return {"rows": self.rows, "kept": self.kept, "dropped": counts, "examples": self.examples}

    def check(self) -> None:
        """Raise OperatorError if nothing is left to train on."""
        if not self.rows:
            raise OperatorError("the log is empty: there is nothing to train on")
        if not self.kept:
            raise OperatorError(f"nothing is left to train on: {self.summary()}")


def narrow(store: Store, selecting: Selecting) -> tuple[Selection, Drops]:
    """The selection that the database can make, and what it leaves out by which condition."""
    asked = selecting.asked()
    allowed = asked.model_copy(update={"may_train_only": True})
    ended = allowed.model_copy(update={"outcomes": selecting.outcomes})
    judged = ended.model_copy(update={"min_reward": 0.0})
    # An answer can be better than the mean of its trajectory, but not if that is zero.
    some = judged.model_copy(update={"min_reward": min(selecting.min_reward, _ABOVE_ZERO)})
    narrowing: list[tuple[str, Selection]] = [
        ("not_asked_for", asked),
        ("may_not_train", allowed),
        ("outcome", ended),
        ("no_reward", judged),
        ("low_reward", some),
    ]
    before = store.stats().trajectories
    drops = Drops(rows=before)
    for name, selection in narrowing:
        left = store.stats(selection).trajectories
        drops.counts[name] += before - left
        before = left
    return some, drops


def majority_model(store: Store, selection: Selection) -> str | None:
    """The model that most of the selected trajectories came from."""
    models = store.stats(selection).models
    return max(models, key=models.__getitem__) if models else None
