"""Select from the log: the database decides by headers (owner, outcome, reward).

Conditions on the content are left to the filters of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from agentlm.finetune.data.demonstrations import demonstrations
from agentlm.finetune.filters.drops import Drops
from agentlm.finetune.settings import Selecting
from agentlm.store import Selection, Store
from agentlm.trajectory import Trajectory

_ABOVE_ZERO = 1e-9


@dataclass(frozen=True)
class LogRows:
    """The rows of an open log that a run may train on."""

    store: Store
    selecting: Selecting
    selection: Selection
    drops: Drops
    """Counts of what the database left out; the filters add to it."""

    def rewarded(self) -> Iterator[Trajectory]:
        """Rows with enough reward, as far as headers show, and demonstrations.

        Methods that learn from rewards take all judged rows, and no demonstrations, which nobody
        sampled.
        """
        for trajectory in self.store.select(self.selection):
            if self.selecting.method != "sft":
                yield trajectory
                continue
            for demonstration in demonstrations(trajectory):
                self.drops.rows += 1
                yield demonstration
            yield trajectory

    def chats(self) -> Iterator[Trajectory]:
        """Plain conversations. Whether their reward is good is left to the filters."""
        selection = self.selecting.requested()
        chosen = {"source": "chat", "may_train_only": True, "outcomes": self.selecting.endings}
        for trajectory in self.store.select(selection.model_copy(update=chosen)):
            if not trajectory.tools:
                yield trajectory

    def majority_model(self) -> str | None:
        """The model that most of the rewarded trajectories came from."""
        models = self.store.stats(self.selection).models
        return max(models, key=models.__getitem__) if models else None


@contextmanager
def open_log(url: str, selecting: Selecting) -> Iterator[LogRows]:
    """Open the log, and count what the selection leaves out."""
    with closing(Store.open(url)) as store:
        selection, drops = _narrow(store, selecting)
        yield LogRows(store, selecting, selection, drops)


def _narrow(store: Store, selecting: Selecting) -> tuple[Selection, Drops]:
    requested = selecting.requested()
    allowed = requested.model_copy(update={"may_train_only": True})
    ended = allowed.model_copy(update={"outcomes": selecting.endings})
    imitated = selecting.method == "sft"
    judged = ended.model_copy(update={"min_reward": 0.0, "or_corrected": imitated})
    # An answer can be better than the mean of its trajectory, but not if that is zero.
    least = min(selecting.min_reward, _ABOVE_ZERO) if imitated else 0.0
    some = judged.model_copy(update={"min_reward": least})
    # Rows of other owners must not be revealed to somebody who may not see them.
    before = store.count(Selection(owner=selecting.owner, may_train_only=False))
    drops = Drops(rows=before)
    for name, selection in {
        "not_asked_for": requested,
        "may_not_train": allowed,
        "outcome": ended,
        "no_reward": judged,
        "low_reward": some,
    }.items():
        left = store.count(selection)
        drops.counts[name] += before - left
        before = left
    return some, drops
