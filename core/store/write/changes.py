"""Changes of existing trajectories: claims, feedback, provenance, deletion."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, and_, delete, exists, insert, literal, select, update

from agentlm.errors import ConflictError, NotFoundError, RequestError
from agentlm.feedback import reward_of
from agentlm.store.conversations import note_deletion
from agentlm.store.idempotency import forget
from agentlm.store.tables import feedbacks, interactions, steps, trainings, trajectories
from agentlm.store.write.stored import Stored, find, merge_metadata, set_metadata
from agentlm.trajectory import Feedback, Outcome


def claim(db: Connection, key: int, step: int) -> bool:
    """Take the right to go on from a trajectory's end. False if it is already taken."""
    free = and_(
        trajectories.c.key == key,
        trajectories.c.step_count == step,
        trajectories.c.claimed_step < step,
    )
    return db.execute(update(trajectories).where(free).values(claimed_step=step)).rowcount == 1


def renew(db: Connection, trajectory_id: str, lease_s: float) -> None:
    """Extend the lease of a running trajectory."""
    t = trajectories.c
    running = and_(t.id == trajectory_id, t.outcome == Outcome.RUNNING.value)
    db.execute(update(trajectories).where(running).values(lease_until=time.time() + lease_s))


def add_feedback(db: Connection, trajectory_id: str, feedback: Feedback, owner: str | None) -> None:
    """Keep feedback. It counts towards the reward unless the environment has scored."""
    stored = _owned(db, trajectory_id, owner)
    if feedback.completion_id is not None:
        _check_completion(db, stored, feedback.completion_id)
    if feedback.step is not None:
        _check_step(db, stored, feedback.step)
    body = feedback.model_dump_json()
    db.execute(insert(feedbacks), {"trajectory": stored.key, "body": body})
    judge(db, stored)


def judge(db: Connection, stored: Stored) -> None:
    """Set the reward from all feedback, unless the environment has scored."""
    of_it = feedbacks.c.trajectory == stored.key
    bodies = select(feedbacks.c.body).where(of_it).order_by(feedbacks.c.key)
    judgements = tuple(map(Feedback.model_validate_json, db.scalars(bodies)))
    _set(db, stored, corrected=any(one.correction is not None for one in judgements))
    if not stored.scored and stored.outcome != Outcome.ERROR:
        _set(db, stored, reward=reward_of(judgements))


def forget_feedback(db: Connection, stored: Stored, completion_id: str) -> None:
    """Delete the feedback on one completion."""
    f = feedbacks.c
    rows = db.execute(select(f.key, f.body).where(f.trajectory == stored.key)).all()
    of_it = [
        row.key
        for row in rows
        if Feedback.model_validate_json(row.body).completion_id == completion_id
    ]
    if of_it:
        db.execute(delete(feedbacks).where(f.key.in_(of_it)))
        judge(db, stored)


def check_value(value: float | None, param: str) -> None:
    """Raise RequestError unless the value is None or a number in [0, 1]."""
    if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
        raise RequestError(f"{param} must be in [0, 1], got {value}", param=param)


def score(
    db: Connection,
    trajectory_id: str,
    owner: str | None,
    *,
    reward: float | None,
    outcome: Outcome | None,
    error_classes: Sequence[str],
    metadata: Mapping[str, Any],
) -> None:
    """Keep the environment's score. It takes precedence over feedback."""
    stored = _owned(db, trajectory_id, owner)
    ended = outcome or Outcome(stored.outcome)
    if ended is Outcome.ERROR:
        if reward is not None:
            raise ConflictError(f"trajectory {trajectory_id} ended in an error: it has no reward")
        _set(db, stored, reward=None, scored=False)
    if outcome is not None:
        _set(db, stored, outcome=outcome.value, lease_until=None)
    if reward is not None:
        _set(db, stored, reward=reward, scored=True)
    if error_classes:
        _set(db, stored, error_classes=",".join(sorted(set(error_classes))))
    merge_metadata(db, stored, metadata)


def tag(
    db: Connection, trajectory_id: str, owner: str | None, tags: Mapping[str, str | None]
) -> None:
    """Set text entries of the metadata; None removes an entry."""
    stored = _owned(db, trajectory_id, owner)
    if not stored.content:
        raise ConflictError(f"{trajectory_id} is kept without content, so it has no tags")
    metadata = from_json(stored.metadata)
    for name in tags:
        if not isinstance(metadata.get(name, ""), str):
            raise RequestError(
                f"metadata.{name} is not a tag: its value must be text, or null", param="metadata"
            )
    kept = {name: value for name, value in metadata.items() if name not in tags}
    set_metadata(db, stored, kept | {name: text for name, text in tags.items() if text is not None})


def remove(db: Connection, trajectory_id: str, owner: str | None) -> bool:
    """Delete a trajectory and everything that belongs to it. False if there is none."""
    mine = [trajectories.c.id == trajectory_id]
    if owner is not None:
        mine.append(trajectories.c.owner == owner)
    hung = interactions.c.trajectory.in_(select(trajectories.c.key).where(*mine))
    forget(db, hung)
    note_deletion(db, hung)
    return db.execute(delete(trajectories).where(*mine)).rowcount == 1


def mark_trained(db: Connection, card: str, trajectory_ids: Sequence[str]) -> None:
    """Record that a card was trained on these. Unknown ids are ignored."""
    new = ~exists().where(trainings.c.trajectory == trajectories.c.key, trainings.c.card == card)
    pairs = select(trajectories.c.key, literal(card)).where(
        trajectories.c.id.in_(trajectory_ids), new
    )
    db.execute(insert(trainings).from_select(["trajectory", "card"], pairs))


def _owned(db: Connection, trajectory_id: str, owner: str | None) -> Stored:
    stored = find(db, trajectory_id)
    if stored is None or owner not in (None, stored.owner):
        raise NotFoundError(f"there is no trajectory {trajectory_id}", param="trajectory_id")
    return stored


def _check_completion(db: Connection, stored: Stored, completion_id: str) -> None:
    i = interactions.c
    same = select(i.key).where(i.trajectory == stored.key, i.completion_id == completion_id)
    if db.execute(same.limit(1)).first() is None:
        raise NotFoundError(f"there is no completion {completion_id}", param="completion_id")


def _check_step(db: Connection, stored: Stored, number: int) -> None:
    s = steps.c
    role = db.scalar(select(s.role).where(s.trajectory == stored.key, s.number == number))
    if role is None:
        raise NotFoundError(f"the trajectory has no step {number}", param="step")
    if role != "assistant":
        raise RequestError(f"step {number} is the {role}'s, not the model's", param="step")


def _set(db: Connection, stored: Stored, **columns: Any) -> None:
    db.execute(update(trajectories).where(trajectories.c.key == stored.key).values(columns))
