"""Which splits worlds of others have: never one to train on."""

from __future__ import annotations

from agentlm.environments.task import Split
from agentlm.errors import OperatorError


def held_out(world: str, split: Split, *parts: Split) -> None:
    """Raises OperatorError unless `split` is one of `parts`."""
    if split not in parts:
        allowed = " and ".join(parts)
        raise OperatorError(
            f"{world} is held out, nothing is trained on it: --split {split} is not to be had, "
            f"{allowed} {'are' if len(parts) > 1 else 'is'}"
        )
