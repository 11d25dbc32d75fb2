"""API keys: who may use the server, and what each key allows."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any, Literal

from pydantic import Field
from pydantic_core import from_json
from sqlalchemy import Connection, Row, insert, select, update

from agentlm.errors import ConflictError
from agentlm.messages import Frozen
from agentlm.store.database import ReadAccess
from agentlm.store.tables import api_keys
from agentlm.store.write.writer import Writer

STATIC_OWNER = "default"
LOCAL_OWNER = "local"
_OWNERS_WITHOUT_A_KEY = {
    STATIC_OWNER: "what is done with a server's --api-key",
    LOCAL_OWNER: "what is done on a server without keys",
}


class ApiKey(Frozen):
    """A key without its secret, which is returned once and not kept."""

    name: str = Field(min_length=1, max_length=200)
    """The owner of everything that is done with it."""
    created: float = Field(default_factory=time.time)
    """Unix seconds."""
    revoked: float | None = None
    """When it was revoked."""
    admin: bool = False
    """It may read and change other owners' rows."""
    may_decide: bool = False
    """It may approve or deny calls that the operator's policy asks about, of any owner.
    Administrators may do that with any key."""
    log: Literal["full", "metadata"] = "full"
    """`metadata`: keep only counts and audit, as if every request had `store: false`."""
    may_train: bool = True
    """Whether its trajectories may be trained on; recorded in each trajectory."""
    tools: tuple[str, ...] | None = None
    """Names of the server's tools that it may use; None: all of them."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """None: no limit."""


class Keys:
    def __init__(self, writer: Writer, reading: ReadAccess) -> None:
        self._writer = writer
        self._reading = reading

    async def create(self, key: ApiKey) -> str:
        """Keep a key and return its secret.

        Raises ConflictError if a key of this name exists or existed, or if a server without keys
        uses the name: no owner may get another's rows.
        """
        if key.name in _OWNERS_WITHOUT_A_KEY:
            owned = _OWNERS_WITHOUT_A_KEY[key.name]
            raise ConflictError(
                f"{key.name!r} is the owner of {owned}; give the key another name", param="name"
            )
        secret = f"sk-agentlm-{secrets.token_urlsafe(32)}"
        row = {
            "name": key.name,
            "digest": _digest(secret),
            "created": key.created,
            "revoked": key.revoked,
            "body": key.model_dump_json(exclude={"name", "created", "revoked"}),
        }
        await self._writer.run(lambda db: _insert(db, row))
        return secret

    def find(self, secret: str) -> ApiKey | None:
        """The valid key with this secret."""
        with self._reading() as db:
            query = select(api_keys).where(api_keys.c.digest == _digest(secret))
            row = db.execute(query.where(api_keys.c.revoked.is_(None))).one_or_none()
        return None if row is None else _parse(row)

    def list(self) -> list[ApiKey]:
        """All keys, including revoked ones, oldest first."""
        with self._reading() as db:
            rows = db.execute(select(api_keys).order_by(api_keys.c.created, api_keys.c.name))
            return [_parse(row) for row in rows]

    async def revoke(self, name: str) -> bool:
        """Make a key invalid for good. Returns False if no valid key has this name."""
        valid = (api_keys.c.name == name) & api_keys.c.revoked.is_(None)
        change = update(api_keys).where(valid).values(revoked=time.time())
        return await self._writer.run(lambda db: db.execute(change).rowcount == 1)


def _digest(secret: str) -> str:
    # A secret of 256 random bits needs neither a salt nor a slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()


def _insert(db: Connection, row: dict[str, object]) -> None:
    taken = select(api_keys.c.name).where(api_keys.c.name == row["name"])
    if db.execute(taken).first() is not None:
        raise ConflictError(f"there is or was a key named {row['name']!r}", param="name")
    db.execute(insert(api_keys), row)


def _parse(row: Row[*tuple[Any, ...]]) -> ApiKey:
    fields = from_json(row.body)
    return ApiKey(name=row.name, created=row.created, revoked=row.revoked, **fields)
