"""What the formats share: turns of one side, loss marks, and imported text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agentlm.messages import Role, ToolCall, ToolSpec
from agentlm.trajectory import Origin, Outcome, Step, Trajectory

Loss = Sequence[bool | None]
"""For each step whether it is trained on; None where nobody said."""
R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Turn:
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
    marks = loss_of(trajectory) if loss is None else loss
    marked = enumerate(zip(trajectory.steps, marks, strict=True))
    for _, group in groupby(marked, key=lambda it: _side(it[0], it[1][0])):
        steps, given = zip(*(pair for _, pair in group), strict=True)
        yield Turn(steps, _joined(given) if steps[0].role == "assistant" else None)


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


def parse_row(model: type[R], row: object) -> R:
    """Validate a row. Raises ValueError with the first complaint, in one line."""
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "row"
        raise ValueError(f"{place}: {first['msg']}") from None


def _side(index: int, step: Step) -> tuple[bool, int]:
    apart = step.role == "assistant" and step.origin is Origin.IMPORTED
    return step.role == "assistant", index if apart else -1


def _joined(marks: Sequence[bool | None]) -> bool | None:
    said = [mark for mark in marks if mark is not None]
    return any(said) if said else None


def call_of(turn: Turn) -> ToolCall | None:
    """The call that an assistant's turn makes."""
    return next((step.call for step in turn.steps if step.call is not None), None)
