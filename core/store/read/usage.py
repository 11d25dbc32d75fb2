"""Performance of models and use by owners, from the log: rewards, times and tokens."""

from __future__ import annotations

from statistics import fmean, quantiles

from sqlalchemy import Connection, func, select

from agentlm.store.contract import ModelRecord, OwnerUse
from agentlm.store.read.headers import owned_by
from agentlm.store.tables import steps, trajectories
from agentlm.trajectory import Origin

_NEWEST = 500
"""How many trajectories of a model are looked at: its present behaviour, at a bounded cost."""


def of_model(db: Connection, owner: str | None, model: str) -> ModelRecord:
    """Looks at a model's newest trajectories of an owner; None: of all owners."""
    t, s = trajectories.c, steps.c
    newest = (
        select(t.key, t.reward)
        .where(t.model == model, *owned_by(owner))
        .order_by(t.created.desc(), t.id.desc())
        .limit(_NEWEST)
    )
    newest_rows = db.execute(newest).all()
    rewards = [row.reward for row in newest_rows if row.reward is not None]
    turns = (
        select(s.seconds, s.token_count)
        .where(s.trajectory.in_([row.key for row in newest_rows]))
        .where(s.origin == Origin.SAMPLED.value, s.seconds > 0)
    )
    sampled = db.execute(turns).all()
    seconds, tokens = [row.seconds for row in sampled], sum(row.token_count for row in sampled)
    median, slow = _shares(seconds)
    return ModelRecord(
        trajectories=len(newest_rows),
        rewarded=len(rewards),
        mean_reward=fmean(rewards) if rewards else None,
        turns=len(seconds),
        turn_seconds_median=median,
        turn_seconds_p90=slow,
        tokens_per_second=tokens / sum(seconds) if seconds else None,
    )


def by_owner(db: Connection) -> dict[str, OwnerUse]:
    t = trajectories.c
    sums = func.sum(t.sampled_tokens), func.sum(t.prompt_tokens)
    query = select(t.owner, func.count(), *sums, func.max(t.created)).group_by(t.owner)
    return {
        owner: OwnerUse(
            trajectories=count, sampled_tokens=sampled, prompt_tokens=prompt, last_used=last
        )
        for owner, count, sampled, prompt, last in db.execute(query)
    }


def _shares(seconds: list[float]) -> tuple[float | None, float | None]:
    """The median, and the value that nine of ten stay under."""
    if len(seconds) < 2:
        return (seconds[0], seconds[0]) if seconds else (None, None)
    tenths = quantiles(seconds, n=10, method="inclusive")
    return tenths[4], tenths[8]
