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
"""For each step whether it is trained on; None where nobody said."""
R = TypeVar("R", bound=BaseModel)


class Turn(NamedTuple):
    """Consecutive steps of the assistant, or of everybody else."""

    steps: tuple[Step, ...]
    loss: bool | None

    @property
    def by_assistant(self) -> bool:
        """Which side it is."""
        return self.steps[0].role == "assistant"


def turns(trajectory: Trajectory, loss: Loss | None = None) -> Iterator[Turn]:
    """The trajectory's turns. What is forced and what is sampled of one answer is one turn.

    Imported answers stay apart even if they follow each other: each has its own loss.
    """
    steps, marks = trajectory.steps, loss_of(trajectory) if loss is None else loss
    begins = [i for i, step in enumerate(steps) if i == 0 or not _goes_on(steps[i - 1], step)]
    for begin, end in pairwise([*begins, len(steps)]):
        own = steps[begin].role == "assistant"
        yield Turn(steps[begin:end], _joined(marks[begin:end]) if own else None)


def loss_of(trajectory: Trajectory) -> Loss:
    """The marks that were imported; else what was sampled is trained on."""
    imported = trajectory.metadata.get("loss")
    if isinstance(imported, list) and len(imported) == len(trajectory.steps):
        return imported
    return [step.origin is Origin.SAMPLED for step in trajectory.steps]


def imported_step(role: Role, text: str, **parsed: Any) -> Step:
    """Text of another system."""
    return Step(role=role, origin=Origin.IMPORTED, text=text, token_ids=None, **parsed)


def imported(
    steps: Sequence[Step], loss: Loss, *, task_id: str | None, tools: tuple[ToolSpec, ...] = ()
) -> Trajectory:
    """A trajectory of another system; whoever imports it says whose it is."""
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

    `names` are what the file calls fields of the model.
    """
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = [(names or {}).get(str(part), str(part)) for part in first["loc"]]
        place = ".".join(loc) or "row"
        reason = first["msg"].removeprefix("Value error, ")
        found = "" if first["type"] == "missing" else f", got {short(first['input'])}"
        raise ValueError(f"{place}: {reason}{found}") from None


def _goes_on(before: Step, step: Step) -> bool:
    """Whether a step is of the turn that the one before it is of."""
    if step.role != "assistant" or before.role != "assistant":
        return step.role != "assistant" and before.role != "assistant"
    return step.origin is not Origin.IMPORTED and before.origin is not Origin.IMPORTED


def _joined(marks: Sequence[bool | None]) -> bool | None:
    said = [mark for mark in marks if mark is not None]
    return any(said) if said else None


def call_of(turn: Turn) -> ToolCall | None:
    """The call that an assistant's turn makes."""
    return next((step.call for step in turn.steps if step.call is not None), None)
