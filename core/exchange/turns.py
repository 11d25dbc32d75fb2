"""What the formats share: turns of one side, loss marks, and imported text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from agentlm.exchange.keys import short
from agentlm.messages import Role, ToolCall, ToolSpec
from agentlm.trajectory import Origin, Outcome, Step, Trajectory

Loss = Sequence[bool | None]
"""For each step, whether it is trained on; None if there is no mark."""
R = TypeVar("R", bound=BaseModel)


class Turn(NamedTuple):
    """Consecutive steps of the assistant, or of everybody else."""

    steps: tuple[Step, ...]
    loss: bool | None

    @property
    def by_assistant(self) -> bool:
        """Whether the assistant wrote it."""
        return self.steps[0].role == "assistant"


def turns(trajectory: Trajectory, loss: Loss | None = None) -> Iterator[Turn]:
    """The trajectory's turns. Forced and sampled steps of one answer form one turn.

    Consecutive imported answers stay separate, because each has its own loss.
    """
    steps, marks = trajectory.steps, loss_of(trajectory) if loss is None else loss
    begins = [i for i, step in enumerate(steps) if i == 0 or not _goes_on(steps[i - 1], step)]
    for begin, end in pairwise([*begins, len(steps)]):
        own = steps[begin].role == "assistant"
        yield Turn(steps[begin:end], _joined(marks[begin:end]) if own else None)


def loss_of(trajectory: Trajectory) -> Loss:
    """The imported marks. Without them, sampled steps are trained on."""
    imported = trajectory.metadata.get("loss")
    if isinstance(imported, list) and len(imported) == len(trajectory.steps):
        return imported
    return [step.origin is Origin.SAMPLED for step in trajectory.steps]


def imported_step(role: Role, text: str, **parsed: Any) -> Step:
    """A step of another system's text."""
    return Step(role=role, origin=Origin.IMPORTED, text=text, token_ids=None, **parsed)


def imported(
    steps: Sequence[Step], loss: Loss, *, task_id: str | None, tools: tuple[ToolSpec, ...] = ()
) -> Trajectory:
    """A trajectory of another system. The importer sets its owner."""
    return Trajectory(
        owner="import",
        source="import",
        model="unknown",
        task_id=task_id,
        tools=tools,
        steps=tuple(steps),
        outcome=Outcome.COMPLETED,
        metadata={"loss": list(loss)},
    )


def parse_row(model: type[R], row: object, names: Mapping[str, str] | None = None) -> R:
    """Validate a row. Raises ValueError with the first complaint, in one line.

    `names` maps the model's fields to the file's names for them.
    """
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = [(names or {}).get(str(part), str(part)) for part in first["loc"]]
        place = ".".join(loc) or "row"
        reason = first["msg"].removeprefix("Value error, ")
        value_note = "" if first["type"] == "missing" else f", got {short(first['input'])}"
        raise ValueError(f"{place}: {reason}{value_note}") from None


def _goes_on(before: Step, step: Step) -> bool:
    """Whether a step belongs to the same turn as the one before it."""
    if step.role != "assistant" or before.role != "assistant":
        return step.role != "assistant" and before.role != "assistant"
    return step.origin is not Origin.IMPORTED and before.origin is not Origin.IMPORTED


def _joined(marks: Sequence[bool | None]) -> bool | None:
    set_marks = [mark for mark in marks if mark is not None]
    return any(set_marks) if set_marks else None


def call_of(turn: Turn) -> ToolCall | None:
    """The call of an assistant's turn."""
    return next((step.call for step in turn.steps if step.call is not None), None)
