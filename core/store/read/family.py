"""Forks: the tree around a trajectory, limited to what its owner may see."""

from __future__ import annotations

from sqlalchemy import Connection

from agentlm.store.contract import Family, Header
from agentlm.store.read.headers import headers, owned_by
from agentlm.store.rows import parse_header
from agentlm.store.tables import trajectories

_MOST = 1_000
"""Most members to return of one family."""
_IDS_A_QUERY = 500


def family(db: Connection, trajectory_id: str, owner: str | None) -> Family | None:
    """None if there is no such trajectory."""
    root = _root(db, trajectory_id, owner)
    if root is None:
        return None
    members, parents = {root.id: root}, [root.id]
    while parents and len(members) <= _MOST:
        forks = _forks(db, parents, owner, _MOST + 1 - len(members))
        parents = [fork.id for fork in forks]
        members |= {fork.id: fork for fork in forks}
    return Family(list(members.values())[:_MOST], complete=len(members) <= _MOST)


def _root(db: Connection, trajectory_id: str, owner: str | None) -> Header | None:
    """The oldest ancestor that still exists."""
    root: Header | None = None
    wanted: str | None = trajectory_id
    while wanted is not None:
        query = headers().where(trajectories.c.id == wanted, *owned_by(owner))
        row = db.execute(query).mappings().one_or_none()
        if row is None:
            break
        root = parse_header(row)
        wanted = root.parent_id
    return root


def _forks(db: Connection, parents: list[str], owner: str | None, most: int) -> list[Header]:
    t = trajectories.c
    members: list[Header] = []
    for start in range(0, len(parents), _IDS_A_QUERY):
        of_some = t.parent_id.in_(parents[start : start + _IDS_A_QUERY])
        query = headers().where(of_some, *owned_by(owner)).order_by(t.created, t.id).limit(most)
        members += map(parse_header, db.execute(query).mappings())
    return members
