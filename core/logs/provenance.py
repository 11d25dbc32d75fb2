"""Where a trajectory is beside the log: in models that were trained on it, and in their runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from agentlm.registry import Registry
from agentlm.store import Store


class Held(NamedTuple):
    """What has taken a trajectory in."""

    models: list[str]
    """Trained on it, or from such a model; parents first, forgotten ones included."""
    runs: list[Path]
    """Directories that keep it as text and as ids."""


def held(trajectory_id: str, store: Store, registry: Registry) -> Held:
    """Find what has taken a trajectory in."""
    trained = store.trained_on(trajectory_id)
    cards = registry.list()
    runs = [Path((card.training or {}).get("run", "")) for card in cards if card.name in trained]
    models = list(trained)
    for name in models:  # it grows meanwhile
        models += [card.name for card in cards if card.parent == name and card.name not in models]
    return Held(models, [run for run in runs if run.name and run.is_dir()])
