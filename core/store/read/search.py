"""Find trajectories by their text.

There is no word index, which would double the log. Instead each page looks at a bounded number of
trajectories, newest first, so that no search delays anything, and says how far it got.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, select

from agentlm.store.contract import Found, Header
from agentlm.store.read.headers import newest
from agentlm.store.rows import parse_header
from agentlm.store.selection import Selection
from agentlm.store.tables import steps, trajectories

_LOOK = 2_000
"""How many trajectories one page looks at."""
_KEYS_A_QUERY = 200
_PREVIEW = 200
"""Characters of a preview."""


def search(
    db: Connection, owner: str | None, selection: Selection, after: str | None, limit: int
) -> Found:
    """The next trajectories with `selection.text` in a step, ignoring case."""
    rows = db.execute(newest(db, owner, selection, after, _LOOK + 1)).mappings().all()
    looked, more = rows[:_LOOK], len(rows) > _LOOK
    keys = _saying(db, [row["key"] for row in looked], selection.text or "", limit)
    matching = [row for row in looked if row["key"] in keys]
    end = looked[-1] if more else None
    if len(matching) > limit:
        matching = matching[:limit]
        end = matching[-1]
    return Found([parse_header(row) for row in matching], None if end is None else end["id"])


def _saying(db: Connection, keys: Sequence[int], text: str, limit: int) -> set[int]:
    """Those of `keys` whose steps contain the text; at least the first `limit` + 1 of them."""
    wanted = text.casefold()
    # The body is JSON, whose keys could contain the text as well, so each match is checked.
    as_json = to_json(text).decode()[1:-1]
    s = steps.c
    matching: set[int] = set()
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        near = s.trajectory.in_(some) & s.body.icontains(as_json, autoescape=True)
        for key, body in db.execute(select(s.trajectory, s.body).where(near)):
            if wanted in from_json(body).get("text", "").casefold():
                matching.add(key)
        if len(matching) > limit:
            break
    return matching


def previews(db: Connection, headers: Sequence[Header]) -> dict[str, str]:
    """The beginning of each trajectory's first question, by the trajectory's id."""
    s, t = steps.c, trajectories.c
    first_messages = (
        select(t.id, s.body)
        .join(trajectories)
        .where(t.id.in_([header.id for header in headers]), s.role == "user", s.number <= 2)
        .order_by(s.number.desc())
    )
    return {
        identity: from_json(body).get("text", "").strip()[:_PREVIEW]
        for identity, body in db.execute(first_messages)
    }
