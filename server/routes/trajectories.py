"""`/v1/trajectories`: the log, feedback on it, and the scores of environments."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from agentlm.errors import NotFoundError, RequestError
from agentlm.learnable import learnable_steps
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers, answers_list, asks, reads
from agentlm.server.openai.ids import completion_of
from agentlm.server.openai.wire import Items
from agentlm.server.state import Caller, OwnerScope, ServerState, State
from agentlm.store import Conditions, Header, Selection, Store
from agentlm.store.selection import parse_conditions
from agentlm.trajectory import Feedback, Outcome, Trajectory

router = APIRouter(prefix="/v1/trajectories")

_MAX_BYTES = 1024 * 1024
_ID_LENGTH = len("traj_") + 32


class FeedbackRequest(BaseModel):
    """A judgement: a value in [0, 1] or a boolean, a comment, a corrected answer, or several."""

    model_config = ConfigDict(extra="forbid")

    value: Annotated[float, Field(ge=0, le=1)] | bool | None = None
    comment: Annotated[str, Field(max_length=10_000)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=64)] = "reward"
    completion_id: str | None = None
    step: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Index of the one step that is judged."""
    correction: Annotated[str, Field(min_length=1, max_length=200_000)] | None = None
    """What should have been said at that step, or without a step, as the answer."""


class TagRequest(BaseModel):
    """Entries to set in a trajectory's metadata; null removes an entry."""

    model_config = ConfigDict(extra="forbid")

    metadata: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=64)],
            Annotated[str, Field(max_length=512)] | None,
        ],
        Field(min_length=1, max_length=16, fail_fast=True),
    ]


class ListedHeader(Header):
    """A trajectory in a list."""

    preview: str = ""
    """The beginning of its first question."""


class Member(BaseModel):
    """A trajectory in the list of its family."""

    id: str
    parent_id: str | None
    parent_step: int | None
    created: float
    model: str
    outcome: Outcome
    reward: float | None


class FamilyAnswer(BaseModel):
    """A tree of forks, and the models that were trained on the requested trajectory."""

    object: Literal["list"] = "list"
    data: list[Member]
    has_more: bool
    models: list[str]


class LearnableAnswer(BaseModel):
    """What a run could learn of a trajectory, if its reward is enough for the run."""

    object: Literal["trajectory.learnable"] = "trajectory.learnable"
    id: str
    steps: list[int]
    """Indices of steps: the model's own, well-formed, said here first, and never corrected."""


class ScoreRequest(BaseModel):
    """An environment's score."""

    model_config = ConfigDict(extra="forbid")

    reward: Annotated[float, Field(ge=0, le=1)] | None = None
    outcome: Outcome | None = None
    error_classes: Items[str] = []


@router.get("", openapi_extra=asks(Conditions), responses=answers_list(ListedHeader))
async def list_trajectories(
    request: Request,
    state: State,
    owner: OwnerScope,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    after: str | None = None,
    text: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> dict[str, Any]:
    """Headers, newest first. `after` is the last id of the previous page, its `last_id`.

    Conditions are words of the log's query language (`model`, `since=7d`, `tags.NAME`, …), and
    `text` to find in them. A page of a search looks at a limited number of trajectories, so it can
    have few or none although `has_more` is true.
    """
    own = ("limit", "after", "text")
    query = [pair for pair in request.query_params.multi_items() if pair[0] not in own]
    conditions = parse_conditions(query).conditions()
    selection = Selection(**conditions, may_train_only=False, text=text)
    return await asyncio.to_thread(_listed, state.store, owner, selection, limit, after)


def _listed(
    store: Store, owner: str | None, selection: Selection, limit: int, after: str | None
) -> dict[str, Any]:
    if selection.text is None:
        rows, has_more = store.page(owner, selection, limit=limit, after=after)
        end = rows[-1].id if has_more else None
    else:
        results = store.search(owner, selection, limit=limit, after=after)
        rows, end = results.headers, results.end
    previews = store.previews(rows)
    data = [
        {
            **row.model_dump(exclude={"steps", "interactions", "feedback"}),
            "preview": previews.get(row.id, ""),
        }
        for row in rows
    ]
    last = end or (rows[-1].id if rows else None)
    return {"object": "list", "data": data, "last_id": last, "has_more": end is not None}


@router.get("/{trajectory_id}", responses=answers(Trajectory))
async def get_trajectory(trajectory_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """One whole trajectory, by its own id or that of a completion in it."""
    return (await find_trajectory(trajectory_id, state, owner)).model_dump(mode="json")


@router.post("/{trajectory_id}", openapi_extra=reads(TagRequest))
async def tag_trajectory(
    trajectory_id: str, request: Request, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """Set entries of a trajectory's metadata, by which it can be found later (`tags.NAME`)."""
    body = await read_model(TagRequest, request, _MAX_BYTES)
    header = await state.store.tag(trajectory_id, owner, body.metadata)
    return {"id": trajectory_id, "object": "trajectory", "metadata": header.metadata}


@router.get("/{trajectory_id}/family", responses=answers(FamilyAnswer))
async def get_family(trajectory_id: str, state: State, owner: OwnerScope) -> FamilyAnswer:
    """Its ancestors, all their forks, and the models that were trained on it."""
    store = state.store
    tree = await asyncio.to_thread(store.family, trajectory_id, owner)
    if tree is None:
        raise missing(trajectory_id)
    members = [Member.model_validate(each.model_dump()) for each in tree.members]
    models = await asyncio.to_thread(store.trained_on, trajectory_id)
    return FamilyAnswer(data=members, has_more=not tree.complete, models=models)


@router.get("/{trajectory_id}/learnable", responses=answers(LearnableAnswer))
async def get_learnable(trajectory_id: str, state: State, owner: OwnerScope) -> LearnableAnswer:
    """Which of its steps a run could learn to say, by the trainer's own rule but for the reward."""
    trajectory = await find_trajectory(trajectory_id, state, owner)
    steps = [index for index, can in enumerate(learnable_steps(trajectory)) if can]
    return LearnableAnswer(id=trajectory.id, steps=steps)


@router.delete("/{trajectory_id}")
async def delete_trajectory(trajectory_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """Delete a trajectory, everything that belongs to it, and its tools' state: shell, files,
    variables.

    Its forks stay.
    """
    if not await state.store.delete(trajectory_id, owner):
        raise missing(trajectory_id)
    await release(trajectory_id, state)
    return {"id": trajectory_id, "object": "trajectory.deleted", "deleted": True}


@router.post("/{trajectory_id}/feedback", openapi_extra=reads(FeedbackRequest))
async def add_feedback(
    trajectory_id: str, request: Request, state: State, caller: Caller, owner: OwnerScope
) -> dict[str, Any]:
    """Judge a trajectory, one of its interactions by completion id, or one step."""
    body = await read_model(FeedbackRequest, request, _MAX_BYTES)
    if body.value is None and body.comment is None and body.correction is None:
        raise RequestError("feedback needs a value, a comment or a correction", param="value")
    trajectory = await find_trajectory(trajectory_id, state, owner)
    by_completion = trajectory_id if trajectory_id != trajectory.id else None
    answer_id = body.completion_id or by_completion
    completion_id = None if answer_id is None else completion_of(answer_id)
    known = {interaction.completion_id for interaction in trajectory.interactions}
    if completion_id is not None and completion_id not in known:
        raise NotFoundError(
            f"no completion {completion_id!r} in {trajectory.id}", param="completion_id"
        )
    feedback = Feedback(
        name=body.name,
        value=body.value,
        comment=body.comment,
        author=caller.name,
        completion_id=completion_id,
        step=body.step,
        correction=body.correction,
    )
    header = await state.store.add_feedback(
        feedback, trajectory_id=trajectory.id, admin=caller.admin
    )
    return {"id": trajectory.id, "object": "feedback", "reward": header.reward}


@router.post("/{trajectory_id}/score", openapi_extra=reads(ScoreRequest))
async def score_trajectory(
    trajectory_id: str, request: Request, state: State, owner: OwnerScope
) -> dict[str, Any]:
    """Keep an environment's reward, outcome and error classes. They take precedence over
    feedback."""
    body = await read_model(ScoreRequest, request, _MAX_BYTES)
    header = await state.store.score(
        trajectory_id,
        owner,
        reward=body.reward,
        outcome=body.outcome,
        error_classes=body.error_classes,
    )
    return {
        "id": trajectory_id,
        "object": "score",
        "reward": header.reward,
        "outcome": header.outcome,
    }


async def find_trajectory(identity: str, state: ServerState, owner: str | None) -> Trajectory:
    """Find it by its own id or that of a completion in it. Raises NotFoundError."""
    store, trajectory_id = state.store, identity
    completion_id = completion_of(identity)
    if completion_id.startswith(("chatcmpl-", "cmpl-")):
        interactions = await asyncio.to_thread(store.by_completion, completion_id, owner)
        if interactions:
            trajectory_id = interactions[0].trajectory_id
    trajectory = await asyncio.to_thread(store.get, trajectory_id, owner)
    if trajectory is None:
        raise missing(identity)
    return trajectory


async def release(trajectory_id: str, state: ServerState) -> None:
    """Drop what tools keep for a trajectory that is deleted."""
    with suppress(ValueError):  # an imported name that no tool can have been called with
        await state.chat.toolbox.release(trajectory_id)


def missing(trajectory_id: str) -> NotFoundError:
    """The error for a trajectory that doesn't exist or is another owner's."""
    message = f"no trajectory {trajectory_id!r}"
    if trajectory_id.startswith("traj_") and len(trajectory_id) < _ID_LENGTH:
        message += "; a whole id is needed here, and `agentlm logs show` prints it"
    return NotFoundError(message, param="trajectory_id")
