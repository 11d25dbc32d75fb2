"""The record itself as JSON. Nothing is left out, not even ids and log-probabilities."""

from __future__ import annotations

from typing import Any

from agentlm.exchange.turns import parse_row
from agentlm.trajectory import TRAJECTORY_VERSION, Trajectory


def to_record(trajectory: Trajectory) -> dict[str, Any]:
    return trajectory.model_dump(mode="json")


def from_record(row: object) -> Trajectory:
    """Raises ValueError for a record of a newer version."""
    trajectory = parse_row(Trajectory, row)
    if trajectory.version > TRAJECTORY_VERSION:
        raise ValueError(
            f"version: {trajectory.version} is newer than {TRAJECTORY_VERSION}: upgrade agentlm"
        )
    return trajectory
