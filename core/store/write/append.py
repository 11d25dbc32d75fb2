"""Add an entry to the log, in the writer's transaction."""

from __future__ import annotations

import time

from sqlalchemy import Connection, and_, bindparam, insert, literal, select, update

from agentlm.errors import ConflictError, NotFoundError
from agentlm.store.contract import Entry
from agentlm.store.conversations import extend
from agentlm.store.idempotency import keep
from agentlm.store.rows import (
    header_row,
    interaction_row,
    request_json,
    response_json,
    sampled_and_prompt,
    step_row,
    token_count,
)
from agentlm.store.tables import continuations, interactions, steps, trajectories
from agentlm.store.write.prepared import Prepared, prepared_insert
from agentlm.store.write.redaction import audit_header, audit_interaction, audit_step
from agentlm.store.write.stored import (
    Stored,
    count_tokens,
    find,
    insert_completion_tags,
    insert_tags,
    merge_metadata,
)
from agentlm.trajectory import Interaction, Outcome, Trajectory

_t, _i, _s = trajectories.c, interactions.c, steps.c
_BEGIN = prepared_insert(trajectories, returning=_t.key)
_EXTEND = Prepared(
    update(trajectories)
    .where(_t.key == bindparam("trajectory"))
    .values(
        step_count=bindparam("steps"),
        sampled_tokens=_t.sampled_tokens + bindparam("sampled"),
        prompt_tokens=_t.prompt_tokens + bindparam("prompt"),
        outcome=bindparam("ended"),
        lease_until=bindparam("lease"),
    )
)
_ANSWER = Prepared(
    update(interactions)
    .where(
        _i.completion_id == bindparam("completion"),
        _i.choice == bindparam("which"),
        _i.trajectory == bindparam("of"),
    )
    .values(
        request=bindparam("asked"),
        end_step=bindparam("until"),
        response=bindparam("answer"),
    )
)
_INSERT_STEPS = prepared_insert(steps)
_INSERT_INTERACTION = prepared_insert(interactions, returning=_i.key)
_INSERT_CONTINUATIONS = prepared_insert(continuations)


def append(db: Connection, entry: Entry) -> None:
    """Raises ConflictError unless the entry begins exactly where the stored trajectory ends."""
    header = entry.trajectory if entry.content else audit_header(entry.trajectory)
    stored = find(db, header.id)
    key = _begin(db, entry, header) if stored is None else _extend(db, entry, header, stored)
    if entry.steps:
        _INSERT_STEPS(db, _step_rows(entry, key))
    if entry.interaction is not None:
        _put_interaction(db, entry.interaction, key, content=entry.content)
    if entry.content and (rows := _continuation_rows(entry, key)):
        _INSERT_CONTINUATIONS(db, rows)
    if entry.addition is not None and entry.interaction is not None:
        extend(db, entry.addition, entry.interaction.completion_id)
    if entry.kept is not None:
        keep(db, entry.kept)


def call_key(tool_call_id: str) -> str:
    """The continuation key of a tool call that waits for its result."""
    return f"call:{tool_call_id}"


def _begin(db: Connection, entry: Entry, header: Trajectory) -> int:
    """Insert the trajectory; if it is a fork, with a copy of its parent's first steps."""
    parent = None if header.parent_id is None else _parent(db, entry, header.parent_id)
    _check_place(entry, (header.parent_step or 0) if parent is not None else 0)
    sampled, prompt = sampled_and_prompt(entry.steps)
    if parent is not None:
        copied = count_tokens(db, parent, entry.first_step)
        sampled, prompt = sampled + copied[0], prompt + copied[1]
    row = header_row(header) | {
        "lease_until": _lease(entry),
        "scored": header.reward is not None,
        "corrected": False,
        "error_classes": "",
        "content": entry.content,
        "step_count": entry.first_step + len(entry.steps),
        "claimed_step": 0,
        "sampled_tokens": sampled,
        "prompt_tokens": prompt,
    }
    key: int = _BEGIN(db, row).scalar_one()
    if parent is not None:
        _copy_steps(db, parent, key, entry.first_step)
    insert_tags(db, key, header.metadata)
    return key


def _parent(db: Connection, entry: Entry, parent_id: str) -> int:
    """Key of the trajectory that `entry` forks from."""
    parent = find(db, parent_id)
    if parent is None or parent.owner != entry.trajectory.owner:
        raise NotFoundError(f"there is no trajectory {parent_id} to fork from")
    place = entry.trajectory.parent_step or 0
    if not 0 <= place <= parent.step_count:
        raise ConflictError(
            f"trajectory {parent_id} has {parent.step_count} steps; it can't be forked at {place}"
        )
    _check_content(entry, parent)
    return int(parent.key)


def _copy_steps(db: Connection, parent: int, child: int, count: int) -> None:
    """Copy inside the database: a long prefix never passes through this process."""
    columns = [column for column in _s if column.name not in ("key", "trajectory")]
    prefix = and_(_s.trajectory == parent, _s.number < count)
    source = select(literal(child), *columns).where(prefix)
    names = ["trajectory", *(column.name for column in columns)]
    db.execute(insert(steps).from_select(names, source))


def _extend(db: Connection, entry: Entry, header: Trajectory, stored: Stored) -> int:
    """Update the header of an existing trajectory."""
    if stored.owner != header.owner:
        raise ConflictError(f"trajectory {header.id} belongs to another owner")
    _check_place(entry, stored.step_count)
    _check_content(entry, stored)
    sampled, prompt = sampled_and_prompt(entry.steps)
    _EXTEND(
        db,
        {
            "trajectory": stored.key,
            "steps": entry.first_step + len(entry.steps),
            "sampled": sampled,
            "prompt": prompt,
            "ended": header.outcome.value,
            "lease": _lease(entry),
        },
    )
    if header.metadata:
        merge_metadata(db, stored, header.metadata)
    return int(stored.key)


def _check_place(entry: Entry, step_count: int) -> None:
    if entry.first_step != step_count:
        raise ConflictError(
            f"trajectory {entry.trajectory.id} has {step_count} steps in the log; "
            f"an entry can't begin at {entry.first_step}"
        )


def _check_content(entry: Entry, stored: Stored) -> None:
    if bool(stored.content) != entry.content:
        raise ConflictError(
            f"trajectory {entry.trajectory.id} can't be kept partly with and partly without content"
        )


def _lease(entry: Entry) -> float | None:
    running = entry.trajectory.outcome is Outcome.RUNNING
    return time.time() + entry.lease_s if running else None


def _step_rows(entry: Entry, key: int) -> list[dict[str, object]]:
    return [
        step_row(key, number, step if entry.content else audit_step(step), token_count(step))
        for number, step in enumerate(entry.steps, entry.first_step)
    ]


def _put_interaction(db: Connection, full: Interaction, key: int, *, content: bool) -> None:
    interaction = full if content else audit_interaction(full)
    answer = {
        "completion": interaction.completion_id,
        "which": interaction.choice,
        "of": key,
        "asked": request_json(interaction),
        "until": interaction.end_step,
        "answer": response_json(interaction),
    }
    if _ANSWER(db, answer).rowcount == 0:
        inserted = _INSERT_INTERACTION(db, interaction_row(key, interaction)).scalar_one()
        if interaction.stored:
            insert_completion_tags(db, inserted, interaction.metadata)


def _continuation_rows(entry: Entry, key: int) -> list[dict[str, object]]:
    conversations = [*entry.keys, *map(call_key, entry.tool_call_ids)]
    step = entry.first_step + len(entry.steps)
    place = {"trajectory": key, "owner": entry.trajectory.owner, "step": step}
    return [place | {"conversation": conversation} for conversation in conversations]
