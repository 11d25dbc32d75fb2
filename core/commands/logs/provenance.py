"""Where a trajectory is beside the log: in models that were trained on it, and in runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from agentlm.models.registry import Registry
from agentlm.store import Store


class Held(NamedTuple):
    """What has taken a trajectory in."""

    models: list[str]
    """Trained on it, or from such a model; parents first, forgotten ones included."""
    runs: list[Path]
    """Directories that keep it as text and as ids, whatever became of the run."""


def held(trajectory_id: str, store: Store, data_dir: Path) -> Held:
    """Find what has taken a trajectory in."""
    cards = Registry(data_dir).list()
    models = store.trained_on(trajectory_id)
    for name in models:  # it grows meanwhile
        models += [card.name for card in cards if card.parent == name and card.name not in models]
    names = sorted((data_dir / "runs").rglob("names.txt"))
    # RUN/SOURCE/names.txt: a run can have it in several sources.
    runs = dict.fromkeys(path.parents[1] for path in names if _has_line(path, trajectory_id))
    return Held(models, list(runs))


def _has_line(path: Path, line: str) -> bool:
    with path.open() as lines:
        return f"{line}\n" in lines
