"""The record itself as JSON: nothing is left out, ids and log-probabilities included."""

from __future__ import annotations

from typing import Any

from agentlm.exchange.turns import parse_row
from agentlm.trajectory import TRAJECTORY_VERSION, Trajectory


def to_record(trajectory: Trajectory) -> dict[str, Any]:
    """The trajectory as a JSON object."""
    return trajectory.model_dump(mode="json")


def from_record(row: object) -> Trajectory:
    """The trajectory that was written. Raises ValueError for one of a newer version."""
    trajectory = parse_row(Trajectory, row)
    if trajectory.version > TRAJECTORY_VERSION:
        raise ValueError(
            f"version: {trajectory.version} is newer than {TRAJECTORY_VERSION}: upgrade agentlm"
        )
    return trajectory
