"""A log of any length in seconds: what lists, filters and searches are held to.

SQLite writes it from two trajectories that the store wrote, so rows are as the store's, but few of
them come to a second. One in ten thousand is another's, of a model of its own, went wrong, is
tagged, and says a word that no other does.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agentlm.store import Entry, Store
from agentlm.trajectory import Outcome, Trajectory
from support.records import prompt, sampled, trajectory

RARE_EACH = 10_000
WORD = "needle"
"""What only the rare ones say."""
STEP_S = 2.0
"""From one row's beginning to the next one's."""


async def write(path: Path, count: int, now: float) -> None:
    """Write `count` trajectories, the newest of which begins now."""
    with closing(Store.open(f"sqlite:///{path}")) as store:
        for one in _patterns():
            await store.append(Entry(one, 0, one.steps))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -200000")
        _copy(db, "trajectory", count, now)
        _copy(db, "step", count, now)
        _copy(db, "tag", count, now)
        db.commit()
        db.execute("ANALYZE")


def _patterns() -> tuple[Trajectory, Trajectory]:
    """The common one, whose key is 1, and the rare one, whose key is 2."""
    asked, answered = "How many of them are there?", "There are forty-two of them."
    common = trajectory(steps=(prompt(range(20), asked), sampled(range(20), answered)))
    rare = trajectory(
        owner="ben",
        source="rollout",
        model="rare",
        environment="kg",
        task_id="kg-1",
        outcome=Outcome.ERROR,
        metadata={"team": "blue"},
        steps=(prompt(range(20), f"Where is the {WORD}?"), sampled(range(20), answered)),
    )
    return common, rare


_OWN = {
    "trajectory": {
        "key": "row.n",
        "id": "printf('traj_%032x', row.n)",
        "created": ":now - (:count + 2 - row.n) * :apart",
        "reward": "CASE row.n % 3 WHEN 0 THEN NULL ELSE (row.n % 11) / 10.0 END",
    },
    "step": {
        "key": "row.n * 2 - 1 + pattern.number",
        "trajectory": "row.n",
        "started": ":now - (:count + 2 - row.n) * :apart + pattern.number",
        "body": "replace(pattern.body, 'How many', 'Question ' || row.n || ': how many')",
    },
    "tag": {"trajectory": "row.n"},
}
"""Columns that differ from the pattern's."""


def _copy(db: sqlite3.Connection, table: str, count: int, now: float) -> None:
    columns = [column for _, column, *_ in db.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(_OWN[table].get(column, f'pattern."{column}"') for column in columns)
    whose = "key" if table == "trajectory" else "trajectory"
    names = ", ".join(f'"{column}"' for column in columns)
    db.execute(
        f"""WITH RECURSIVE row(n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM row WHERE n < :count + 2)
        INSERT INTO {table} ({names}) SELECT {values} FROM row JOIN {table} AS pattern
        ON pattern.{whose} = CASE row.n % :each WHEN 0 THEN 2 ELSE 1 END""",
        {"count": count, "now": now, "apart": STEP_S, "each": RARE_EACH},
    )
