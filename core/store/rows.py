"""The record's types as rows, and back.

Round trips are exact except for log-probabilities, which keep float32 precision; the engine does
not compute them more precisely.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import RowMapping

from agentlm.store.contract import Header
from agentlm.trajectory import Feedback, Interaction, Origin, Step, Trajectory

MAX_TAG = 512
"""Longest metadata value, in characters, that can be filtered by."""

_STEP_COLUMNS = (
    "role",
    "origin",
    "started",
    "seconds",
    "weights_version",
    "token_ids",
    "logprobs",
    "single_choice",
)
_REQUEST = {"messages", "sampling", "echo"}
_RESPONSE = {"response", "finish_reason", "usage", "delivered"}
_PLAIN_HEADER = (
    "id",
    "version",
    "created",
    "owner",
    "source",
    "model",
    "environment",
    "task_id",
    "outcome",
    "reward",
    "parent_id",
    "parent_step",
    "may_train",
)
_COUNTS = ("step_count", "sampled_tokens", "prompt_tokens")


def header_row(header: Trajectory) -> dict[str, Any]:
    """The columns of a trajectory that come from its header."""
    row: dict[str, Any] = {name: getattr(header, name) for name in _PLAIN_HEADER}
    row["outcome"] = header.outcome.value
    tools = to_json(header.tools).decode()
    return row | {"tools": tools, "metadata": metadata_json(header.metadata)}


def metadata_json(metadata: Mapping[str, Any]) -> str:
    """The `metadata` column."""
    return to_json(metadata).decode()


def tag_rows(parent: str, key: int, metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metadata entries that can be filtered by. `parent` names the column for `key`."""
    return [
        {parent: key, "name": name, "value": value}
        for name, value in metadata.items()
        if isinstance(value, str) and _fits(name) and _fits(value)
    ]


def _fits(text: str) -> bool:
    return len(text) <= MAX_TAG and "\0" not in text


def parse_trajectory(row: RowMapping) -> Trajectory:
    """The trajectory of a header row, without steps, interactions and feedback."""
    return Trajectory.model_validate(_header_fields(row))


def parse_header(row: RowMapping) -> Header:
    classes = tuple(row["error_classes"].split(",")) if row["error_classes"] else ()
    counts = {name: row[name] for name in _COUNTS}
    return Header.model_validate(_header_fields(row) | counts | {"error_classes": classes})


def _header_fields(row: RowMapping) -> dict[str, Any]:
    fields: dict[str, Any] = {name: row[name] for name in _PLAIN_HEADER}
    return fields | {"tools": from_json(row["tools"]), "metadata": from_json(row["metadata"])}


def step_row(trajectory: int, number: int, step: Step, token_count: int) -> dict[str, Any]:
    """`token_count` is separate, since a step without content has tokens, too."""
    return {
        "trajectory": trajectory,
        "number": number,
        "role": step.role,
        "origin": step.origin.value,
        "started": step.started,
        "seconds": step.seconds,
        "weights_version": step.weights_version,
        "token_count": token_count,
        "token_ids": _pack("I", step.token_ids),
        "logprobs": _pack("f", step.logprobs),
        "single_choice": None if step.single_choice is None else bytes(step.single_choice),
        "body": step.model_dump_json(exclude=set(_STEP_COLUMNS), exclude_none=True),
    }


def parse_step(row: RowMapping) -> Step:
    fields = from_json(row["body"])
    fields |= {name: row[name] for name in ("role", "origin", "started", "seconds")}
    fields["weights_version"] = row["weights_version"]
    fields["token_ids"] = _unpack("I", row["token_ids"])
    fields["logprobs"] = _unpack("f", row["logprobs"])
    flags = row["single_choice"]
    fields["single_choice"] = None if flags is None else tuple(map(bool, flags))
    return Step.model_validate(fields)


def token_count(step: Step) -> int:
    """Number of ids of a step; 0 if an upstream reported none."""
    return len(step.token_ids or ())


def sampled_and_prompt(steps: Iterable[Step]) -> tuple[int, int]:
    """The number of sampled tokens, and the number of other tokens."""
    counts = {True: 0, False: 0}
    for step in steps:
        counts[step.origin is Origin.SAMPLED] += token_count(step)
    return counts[True], counts[False]


def interaction_row(trajectory: int, interaction: Interaction) -> dict[str, Any]:
    """An interaction as it is first written."""
    return {
        "trajectory": trajectory,
        "completion_id": interaction.completion_id,
        "choice": interaction.choice,
        "owner": interaction.owner,
        "created": interaction.created,
        "first_step": interaction.first_step,
        "request": request_json(interaction),
        "end_step": interaction.end_step,
        "response": response_json(interaction),
        "stored": interaction.stored,
        "metadata": metadata_json(interaction.metadata),
    }


def request_json(interaction: Interaction) -> str:
    """What was asked: of a run that makes calls for it first, more than when it was announced."""
    return interaction.model_dump_json(include=_REQUEST)


def response_json(interaction: Interaction) -> str:
    """The part that changes during a run."""
    return interaction.model_dump_json(include=_RESPONSE)


def parse_interaction(row: RowMapping) -> Interaction:
    """The interaction of a row joined with its trajectory's `id`."""
    plain = ("completion_id", "choice", "owner", "created", "first_step", "end_step")
    fields = from_json(row["request"]) | from_json(row["response"])
    fields |= {name: row[name] for name in plain}
    fields |= {"stored": row["stored"], "metadata": from_json(row["metadata"])}
    return Interaction.model_validate(fields | {"trajectory_id": row["id"]})


def parse_feedback(row: RowMapping) -> Feedback:
    return Feedback.model_validate_json(row["body"])


def _pack(code: str, values: tuple[int, ...] | tuple[float, ...] | None) -> bytes | None:
    return None if values is None else struct.pack(f"<{len(values)}{code}", *values)


def _unpack(code: str, blob: bytes | None) -> tuple[Any, ...] | None:
    return None if blob is None else struct.unpack(f"<{len(blob) // 4}{code}", blob)
