"""Leaving scored trajectories where they are kept.

Our own server has recorded every step of a run already; it is told the score. What others did is
written into the log (`log_recording.py`, apart because a log takes as long to import as all else).
"""

from __future__ import annotations

from typing import Protocol

from agentlm.environments.playing.model_player import ModelPlayer
from agentlm.environments.playing.play import Play


class Recorder(Protocol):
    """Keeps a finished run."""

    async def keep(self, run: Play) -> str | None:
        """Durable on return; the trajectory's id, or None if it was not kept."""
        ...


class NoRecorder:
    """Keeps nothing beside the results."""

    async def keep(self, run: Play) -> str | None:
        """The id that the player's server gave."""
        return run.trajectory_id


class ServerRecorder:
    """Tells our server how the trajectory that it recorded ended, and how well.

    `rewarded=False` withholds how well: what has no reward is never trained on.
    """

    def __init__(self, player: ModelPlayer, *, rewarded: bool = True) -> None:
        self._player = player
        self._rewarded = rewarded

    async def keep(self, run: Play) -> str | None:
        """Post outcome and reward."""
        if run.trajectory_id is not None:
            await self._player.score(
                run.trajectory_id,
                reward=run.reward if self._rewarded else None,
                outcome=run.outcome,
                error_classes=run.error_classes,
            )
        return run.trajectory_id
