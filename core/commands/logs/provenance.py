"""Where a trajectory is kept outside the log: in models trained on it, and in training runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from agentlm.models.registry import Registry
from agentlm.store import Store


class Held(NamedTuple):
    """Which models and runs contain a trajectory."""

    models: list[str]
    """Trained on it, or trained from such a model. Parents come first; removed models are
    included."""
    runs: list[Path]
    """Directories that keep it as text and ids, however the run ended."""


def held(trajectory_id: str, store: Store, data_dir: Path) -> Held:
    cards = Registry(data_dir).list()
    models = store.trained_on(trajectory_id)
    for name in models:  # the list grows during the loop
        models += [card.name for card in cards if card.parent == name and card.name not in models]
    names = sorted((data_dir / "runs").rglob("names.txt"))
    # Files are RUN/SOURCE/names.txt: a run can have the trajectory in several sources.
    runs = dict.fromkeys(path.parents[1] for path in names if _has_line(path, trajectory_id))
    return Held(models, list(runs))


def _has_line(path: Path, line: str) -> bool:
    with path.open() as lines:
        return f"{line}\n" in lines
