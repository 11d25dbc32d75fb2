"""Callers: the API key of a request, what it allows, and how often."""

from __future__ import annotations

import asyncio
import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentlm.errors import ForbiddenError, OperatorError, RateLimitError
from agentlm.server.settings import ServeSettings
from agentlm.store import Store
from agentlm.store.keys import LOCAL_OWNER, STATIC_OWNER, ApiKey

LOCAL = ApiKey(name=LOCAL_OWNER, admin=True)
"""The caller of a server without keys, which only this machine can reach."""


class Callers:
    """Knows keys by their secrets.

    A server has keys if `--api-key` was given (its owner is an administrator) or if the log has any
    when it starts. Then a request without a valid key is refused.
    """

    def __init__(self, settings: ServeSettings, store: Store) -> None:
        self._static = settings.api_key
        self._store = store
        self.needs_key = bool(self._static) or any(not key.revoked for key in store.keys.list())
        self._buckets: dict[str, _Bucket] = {}

    async def find(self, secret: str) -> ApiKey | None:
        """The caller with this secret; None: it is not valid."""
        if not self.needs_key:
            return LOCAL
        if self._static and hmac.compare_digest(secret.encode(), self._static.encode()):
            return ApiKey(name=STATIC_OWNER, admin=True)
        return await asyncio.to_thread(self._store.keys.find, secret) if secret else None

    def spend(self, key: ApiKey) -> None:
        """Count a request. Raises RateLimitError if the key has none left."""
        if key.requests_per_minute is None:
            return
        bucket = self._buckets.get(key.name)
        if bucket is None or bucket.size != key.requests_per_minute:
            bucket = self._buckets[key.name] = _Bucket(key.requests_per_minute)
        wait_s = bucket.take()
        if wait_s > 0:
            raise RateLimitError(
                f"the key {key.name!r} allows {key.requests_per_minute} requests a minute; "
                f"try again in {math.ceil(wait_s)} s",
                wait_s,
            )


def check_strangers_need_a_key(settings: ServeSettings, store: Store) -> None:
    """Raises OperatorError for a server without keys that other machines could reach."""
    if not settings.is_local and not Callers(settings, store).needs_key:
        raise OperatorError(
            f"--host {settings.host} is reachable from other machines, and models here run "
            "commands: give --api-key too, or create a key (agentlm keys create)"
        )


@dataclass
class _Bucket:
    """A token bucket of `size` tokens, which fills up once a minute."""

    size: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._left = float(self.size)
        self._at = self.clock()

    def take(self) -> float:
        """Take a token. Returns 0, or the seconds until there is one."""
        now = self.clock()
        rate = self.size / 60
        self._left = min(self.size, self._left + (now - self._at) * rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / rate


def check_origins_need_a_key(settings: ServeSettings, store: Store) -> None:
    """Raises OperatorError for a server without keys that any web page could control."""
    if "*" in settings.cors_origins and not Callers(settings, store).needs_key:
        raise OperatorError(
            "--cors-origins *: any web page could run commands here; name origins, or give "
            "--api-key"
        )


def allowed_families(key: ApiKey, offered: Sequence[str]) -> tuple[str, ...]:
    """The families of the server's tools that a key may use."""
    return tuple(name for name in offered if key.tools is None or name in key.tools)


def require_decider(key: ApiKey) -> None:
    """Raises ForbiddenError for a key that may not decide on calls, even on its own.

    The operator wants a person to decide, not the program that makes the call.
    """
    if not (key.admin or key.may_decide):
        raise ForbiddenError(
            f"the key {key.name!r} may not decide on calls that the server's policy asks about: it "
            "takes an administrator's key, or one of 'agentlm keys create NAME --may-decide'"
        )


def require_admin(key: ApiKey) -> None:
    """Raises ForbiddenError for a key that may not change which models are served."""
    if not key.admin:
        raise ForbiddenError("this needs an administrator's key")
