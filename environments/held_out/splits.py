"""Which splits worlds of others have: never one to train on."""

from __future__ import annotations

from agentlm.environments.task import Split
from agentlm.errors import OperatorError


def held_out(world: str, split: Split, *parts: Split) -> None:
    """Raises OperatorError unless `split` is one of `parts`."""
    if split not in parts:
        raise OperatorError(
            f"{world} is held out, so nothing is trained on it: --split must be "
            f"{' or '.join(parts)}, got {split}"
        )
