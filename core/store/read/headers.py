"""Read many trajectories: pages of headers, whole selections, counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from agentlm.errors import NotFoundError
from agentlm.store.contract import Header, Stats
from agentlm.store.rows import parse_header
from agentlm.store.selection import Selection
from agentlm.store.tables import interactions, tags, trajectories
from agentlm.trajectory import Outcome

_BATCH_TOKENS = 50_000
_BATCH_ROWS = 100
"""A batch of a selection ends with the first limit that it reaches: it bounds memory."""
_FEW = 1_000
"""Tagged trajectories that are looked up one by one; among more, a page is soon found."""


def outcome_now(table: FromClause = trajectories) -> ColumnElement[str]:
    """The outcome at this moment: a `running` one whose lease has ended is `unknown`."""
    t = table.c
    expired = and_(t.outcome == Outcome.RUNNING.value, t.lease_until < time.time())
    return case((expired, Outcome.UNKNOWN.value), else_=t.outcome)


def headers() -> Select[Any]:
    """All columns of the header table, with the outcome at this moment."""
    columns = [column for column in trajectories.c if column.name != "outcome"]
    return select(*columns, outcome_now().label("outcome"))


def owned_by(owner: str | None, table: FromClause = trajectories) -> list[ColumnElement[bool]]:
    """The condition that a trajectory belongs to an owner; empty for an admin."""
    return [] if owner is None else [table.c.owner == owner]


def conditions(selection: Selection, table: FromClause = trajectories) -> list[ColumnElement[bool]]:
    """A selection's conditions on the header table."""
    t = table.c
    clauses = owned_by(selection.owner, table)
    equal = {t.model: selection.model, t.source: selection.source}
    equal[t.environment] = selection.environment
    clauses += [column == value for column, value in equal.items() if value is not None]
    if selection.outcomes:
        clauses.append(outcome_now(table).in_([outcome.value for outcome in selection.outcomes]))
    if selection.min_reward is not None:
        enough = t.reward >= selection.min_reward
        clauses.append(or_(enough, t.corrected) if selection.or_corrected else enough)
    if selection.since is not None:
        clauses.append(t.created >= selection.since)
    if selection.until is not None:
        clauses.append(t.created < selection.until)
    if selection.may_train_only:
        clauses.append(t.may_train)
    if selection.sometimes_solved:
        clauses.append(_of_tasks_sometimes_solved(selection, table))
    return clauses + [_tagged(name, value, table) for name, value in selection.tags.items()]


def _tagged(name: str, value: str, table: FromClause) -> ColumnElement[bool]:
    same = and_(tags.c.trajectory == table.c.key, tags.c.name == name, tags.c.value == value)
    return exists().where(same)


def _of_tasks_sometimes_solved(selection: Selection, table: FromClause) -> ColumnElement[bool]:
    tries = trajectories.alias("tries")
    enough = 1.0 if selection.min_reward is None else selection.min_reward
    whatever = {"min_reward": None, "outcomes": (), "sometimes_solved": False}
    tried = conditions(selection.model_copy(update=whatever), tries)
    c = tries.c
    sometimes = (
        select(c.environment, c.task_id)
        .where(*tried, c.environment.is_not(None), c.task_id.is_not(None), c.reward.is_not(None))
        .group_by(c.environment, c.task_id)
        .having(func.min(c.reward) < enough, func.max(c.reward) >= enough)
    )
    return tuple_(table.c.environment, table.c.task_id).in_(sometimes)


def header(db: Connection, trajectory_id: str) -> Header:
    """One header, which must exist, of any owner."""
    query = headers().where(trajectories.c.id == trajectory_id)
    return parse_header(db.execute(query).mappings().one())


def page(
    db: Connection, owner: str | None, selection: Selection, after: str | None, limit: int
) -> tuple[list[Header], bool]:
    """Headers, newest first, and whether there are more."""
    rows = db.execute(newest(db, owner, selection, after, limit + 1)).mappings().all()
    return [parse_header(row) for row in rows[:limit]], len(rows) > limit


def newest(
    db: Connection, owner: str | None, selection: Selection, after: str | None, limit: int
) -> Select[Any]:
    """The header rows of a selection after an id, newest first."""
    t = trajectories.c
    query = headers().where(*owned_by(owner), *conditions(selection))
    few = _few_tagged(db, selection)
    if few is not None:
        query = query.where(t.key.in_(few))
    if after is not None:
        query = query.where(tuple_(t.created, t.id) < _position(db, after, owner))
    return query.order_by(t.created.desc(), t.id.desc()).limit(limit)


def _few_tagged(db: Connection, selection: Selection) -> Sequence[int] | None:
    """The trajectories that have one of the tags, if there are few of them: then the log need not
    be gone through for them."""
    for name, value in selection.tags.items():
        have = select(tags.c.trajectory).where(tags.c.name == name, tags.c.value == value)
        keys = db.scalars(have.limit(_FEW + 1)).all()
        if len(keys) <= _FEW:
            return keys
    return None


def _position(db: Connection, trajectory_id: str, owner: str | None) -> Any:
    t = trajectories.c
    query = select(t.created, t.id).where(t.id == trajectory_id, *owned_by(owner))
    row = db.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no trajectory {trajectory_id}", param="after")
    return tuple_(row.created, row.id)


def last_key(db: Connection) -> int:
    """The newest trajectory's key; 0 if there is none."""
    return db.scalar(select(func.max(trajectories.c.key))) or 0


def batch(
    db: Connection, selection: Selection, after: int, until: int, limit: int
) -> list[RowMapping]:
    """The next header rows of a selection in the order of writing, few enough for their steps to
    fit in memory together."""
    t = trajectories.c
    query = headers().where(*conditions(selection), t.content, t.key > after, t.key <= until)
    rows = db.execute(query.order_by(t.key).limit(min(limit, _BATCH_ROWS))).mappings()
    taken: list[RowMapping] = []
    tokens = 0
    for row in rows:
        tokens += row["sampled_tokens"] + row["prompt_tokens"]
        if taken and tokens > _BATCH_TOKENS:
            break
        taken.append(row)
    return taken


def count(db: Connection, selection: Selection) -> int:
    """Trajectories of a selection, including rows without content."""
    query = select(func.count(trajectories.c.key)).where(*conditions(selection))
    return db.scalar(query) or 0


def stats(db: Connection, selection: Selection) -> Stats:
    """Counts over a selection, including rows without content."""
    t = trajectories.c
    where = conditions(selection)
    totals = select(
        func.count(t.key),
        func.sum(t.step_count),
        func.sum(t.sampled_tokens),
        func.sum(t.prompt_tokens),
        func.count(t.reward),
        func.avg(t.reward),
    )
    count, steps, sampled, prompt, rewarded, mean = db.execute(totals.where(*where)).one()
    answered = select(func.count(interactions.c.key)).join(trajectories).where(*where)
    return Stats(
        trajectories=count,
        interactions=db.scalar(answered) or 0,
        steps=steps or 0,
        sampled_tokens=sampled or 0,
        prompt_tokens=prompt or 0,
        rewarded=rewarded,
        mean_reward=mean,
        outcomes=_counted(db, outcome_now(), where),
        sources=_counted(db, t.source, where),
        models=_counted(db, t.model, where),
        error_classes=_error_classes(db, where),
    )


def _counted(
    db: Connection, column: ColumnElement[str], where: list[ColumnElement[bool]]
) -> dict[str, int]:
    value = column.label("value")
    rows = db.execute(
        select(value, func.count().label("total")).where(*where).group_by("value").order_by("value")
    )
    return {row.value: row.total for row in rows}


def _error_classes(db: Connection, where: list[ColumnElement[bool]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for classes, count in _counted(db, trajectories.c.error_classes, where).items():
        for name in filter(None, classes.split(",")):
            totals[name] = totals.get(name, 0) + count
    return totals
