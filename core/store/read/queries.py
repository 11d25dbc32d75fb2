"""Find one thing in the log: a trajectory, a completion, the end of a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, func, select

from agentlm.store.contract import Written
from agentlm.store.read.headers import headers, owned_by
from agentlm.store.rows import parse_feedback, parse_interaction, parse_step, parse_trajectory
from agentlm.store.tables import (
    continuations,
    feedbacks,
    interactions,
    steps,
    trainings,
    trajectories,
)
from agentlm.trajectory import Interaction, Trajectory

_KEYS_A_QUERY = 500
_DUPLICATES = 64
"""How many trajectories with the same conversation are looked at, newest first."""


@dataclass(frozen=True, slots=True)
class Place:
    """A stored end of a conversation."""

    key: int
    trajectory_id: str
    step: int
    conversation: str
    free: bool
    """No other request has gone on from there yet."""


def find_place(db: Connection, owner: str, conversations: Sequence[str]) -> Place | None:
    """The first of `conversations` that is stored. If there are several places, a free and new
    one."""
    c = continuations.c
    for start in range(0, len(conversations), _KEYS_A_QUERY):
        wanted = conversations[start : start + _KEYS_A_QUERY]
        known = select(c.conversation).where(c.owner == owner, c.conversation.in_(wanted))
        stored = set(db.scalars(known.distinct()))
        if stored:
            return _best(db, owner, next(name for name in wanted if name in stored))
    return None


def place_at(db: Connection, owner: str, trajectory_id: str, step: int) -> Place | None:
    """The place after the first `step` steps of a trajectory."""
    t = trajectories.c
    free = and_(t.step_count == step, t.claimed_step < step)
    mine = select(t.key, free.label("free")).where(
        t.id == trajectory_id, t.owner == owner, t.step_count >= step
    )
    row = db.execute(mine).one_or_none()
    return None if row is None else Place(row.key, trajectory_id, step, "", bool(row.free))


def _best(db: Connection, owner: str, conversation: str) -> Place | None:
    c, t = continuations.c, trajectories.c
    newest = (
        select(c.key, c.trajectory, c.step)
        .where(c.owner == owner, c.conversation == conversation)
        .order_by(c.key.desc())
        .limit(_DUPLICATES)
        .subquery()
    )
    free = and_(t.step_count == newest.c.step, t.claimed_step < newest.c.step)
    row = db.execute(
        select(t.key, t.id, newest.c.step, free.label("free"))
        .join(newest, newest.c.trajectory == t.key)
        .order_by(free.desc(), newest.c.key.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return Place(row.key, row.id, row.step, conversation, bool(row.free))


def get(db: Connection, trajectory_id: str, owner: str | None) -> Trajectory | None:
    query = headers().where(trajectories.c.id == trajectory_id, *owned_by(owner))
    return next(whole(db, db.execute(query).mappings().all()), None)


def ids(db: Connection, beginning: str, limit: int) -> list[str]:
    """Trajectories whose id has this beginning."""
    begins = trajectories.c.id.startswith(beginning, autoescape=True)
    return list(db.scalars(select(trajectories.c.id).where(begins).limit(limit)))


def prefix(db: Connection, place: Place) -> Trajectory | None:
    """A trajectory up to a place, without interactions. None if it has just been deleted."""
    row = db.execute(headers().where(trajectories.c.key == place.key)).mappings().one_or_none()
    if row is None:
        return None
    s = steps.c
    query = select(steps).where(s.trajectory == place.key, s.number < place.step).order_by(s.number)
    before = tuple(parse_step(step) for step in db.execute(query).mappings())
    return parse_trajectory(row).model_copy(update={"steps": before})


def whole(db: Connection, rows: Sequence[RowMapping]) -> Iterator[Trajectory]:
    """The trajectories of header rows with everything that belongs to them, in the rows' order."""
    keys = [row["key"] for row in rows]
    s, i, f = steps.c, interactions.c, feedbacks.c
    with_steps = _children(db, select(steps).order_by(s.trajectory, s.number), s, keys)
    answered = _children(db, _interactions().order_by(i.trajectory, i.key), i, keys)
    judged = _children(db, select(feedbacks).order_by(f.trajectory, f.key), f, keys)
    for row in rows:
        key = row["key"]
        yield parse_trajectory(row).model_copy(
            update={
                "steps": tuple(map(parse_step, with_steps.get(key, ()))),
                "interactions": tuple(map(parse_interaction, answered.get(key, ()))),
                "feedback": tuple(map(parse_feedback, judged.get(key, ()))),
            }
        )


def by_completion(db: Connection, completion_id: str, owner: str | None) -> list[Interaction]:
    """All choices of a completion."""
    i = interactions.c
    query = _interactions().where(i.completion_id == completion_id, *owned_by(owner))
    return [parse_interaction(row) for row in db.execute(query.order_by(i.choice)).mappings()]


def trained_on(db: Connection, trajectory_id: str) -> list[str]:
    """Names of the cards that were trained on a trajectory."""
    query = select(trainings.c.card).join(trajectories).where(trajectories.c.id == trajectory_id)
    return list(db.scalars(query.order_by(trainings.c.card)))


def written(db: Connection, after: int, limit: int) -> list[Written]:
    """Steps after a place, or if `after` is negative, the last `-after` steps. Without copied
    ones."""
    s, t = steps.c, trajectories.c
    own = s.number >= func.coalesce(t.parent_step, 0)
    query = select(steps, t.id.label("trajectory_id")).join(trajectories).where(own)
    if after < 0:
        rows = db.execute(query.order_by(s.key.desc()).limit(-after)).mappings().all()[::-1]
    else:
        newer = query.where(s.key > after).order_by(s.key).limit(limit)
        rows = db.execute(newer).mappings().all()
    return [
        Written(row["key"], row["trajectory_id"], row["number"], parse_step(row)) for row in rows
    ]


def _interactions() -> Select[Any]:
    return select(interactions, trajectories.c.id).join(trajectories)


def _children(
    db: Connection, query: Select[Any], columns: Any, keys: Sequence[int]
) -> dict[int, list[RowMapping]]:
    rows = db.execute(query.where(columns.trajectory.in_(keys))).mappings()
    groups = groupby(rows, key=itemgetter("trajectory"))
    return {key: list(group) for key, group in groups}
