"""Leaving scored trajectories where they are kept.

Our own server has recorded every step of a run already; it is told the score. What others did is
written into the log (`log_recording.py`, apart because a log takes as long to import as all else).

What was done is kept before its score, and the result is written down in between
(`progress.py`): a trajectory without a reward harms nobody if the process dies there.
"""

from __future__ import annotations

from typing import Protocol

from agentlm.environments.playing.model_player import ModelPlayer
from agentlm.environments.playing.play import Play
from agentlm.environments.playing.progress import Kept, Result


class Recorder(Protocol):
    """Keeps finished runs and their scores."""

    async def keep(self, run: Play) -> Kept:
        """Keep what was done. Durable on return."""
        ...

    async def score(self, result: Result) -> None:
        """Keep how it went, of a result with a trajectory. Durable on return; may be done again."""
        ...


class NoRecorder:
    """Keeps nothing beside the results."""

    async def keep(self, run: Play) -> Kept:
        """The id that the player's server gave."""
        return Kept(run.trajectory_id)

    async def score(self, result: Result) -> None:
        """Nothing is told."""


class ServerRecorder:
    """Tells our server how the trajectory that it recorded ended, and how well.

    `rewarded=False` withholds how well: what has no reward is never trained on.
    """

    def __init__(self, player: ModelPlayer, *, rewarded: bool = True) -> None:
        self._player = player
        self._rewarded = rewarded

    async def keep(self, run: Play) -> Kept:
        """It has been kept."""
        return Kept(run.trajectory_id, None if run.trajectory_id is None else "server")

    async def score(self, result: Result) -> None:
        """Post outcome and reward."""
        assert result.trajectory_id is not None
        await self._player.score(
            result.trajectory_id,
            reward=result.reward if self._rewarded else None,
            outcome=result.outcome,
            error_classes=result.error_classes,
        )
