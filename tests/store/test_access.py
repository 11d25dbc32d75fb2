"""API keys, and requests that must have one effect."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from agentlm.errors import ConflictError
from agentlm.store import Answer, ApiKey, Entry, KeptAnswer, Store
from agentlm.store.database import connect
from agentlm.store.idempotency import KEPT_S
from agentlm.store.tables import idempotency
from support.records import chat


async def test_a_key_is_found_by_its_secret(store: Store) -> None:
    key = ApiKey(
        name="ann",
        admin=True,
        log="metadata",
        may_train=False,
        tools=("bash",),
        requests_per_minute=60,
    )

    secret = await store.keys.create(key)

    assert store.keys.find(secret) == key
    assert store.keys.find(secret + "x") is None
    assert store.keys.find("") is None


async def test_secrets_are_not_in_the_database(tmp_path: Path) -> None:
    file = tmp_path / "agentlm.db"
    store = Store.open(f"sqlite:///{file}")

    secret = await store.keys.create(ApiKey(name="ann"))
    store.close()

    assert b"ann" in file.read_bytes()
    assert secret.removeprefix("sk-agentlm-").encode() not in file.read_bytes()


async def test_a_revoked_key_is_listed_but_not_found(store: Store) -> None:
    secret = await store.keys.create(ApiKey(name="ann", created=1.0))
    other = await store.keys.create(ApiKey(name="bob", created=2.0))

    assert await store.keys.revoke("ann")
    assert not await store.keys.revoke("ann")
    assert not await store.keys.revoke("nobody")

    assert store.keys.find(secret) is None
    assert store.keys.find(other) is not None
    assert [(key.name, key.revoked is None) for key in store.keys.list()] == [
        ("ann", False),
        ("bob", True),
    ]


async def test_a_name_is_never_used_twice(store: Store) -> None:
    await store.keys.create(ApiKey(name="ann"))
    await store.keys.revoke("ann")

    with pytest.raises(ConflictError, match="named 'ann'"):
        await store.keys.create(ApiKey(name="ann"))


async def test_a_request_is_answered_once(store: Store) -> None:
    answer = Answer(200, '{"id": "chatcmpl-1\\u0000"}')

    begun = await store.requests.begin("ann", "key", "digest")
    with pytest.raises(ConflictError, match="being answered"):
        await store.requests.begin("ann", "key", "digest")
    await store.requests.end(KeptAnswer("ann", "key", answer, time.time()))
    await store.requests.abandon("ann", "key")

    assert begun is None
    assert await store.requests.begin("ann", "key", "digest") == answer
    assert await store.requests.begin("bob", "key", "digest") is None


async def test_of_concurrent_requests_one_goes_on(store: Store) -> None:
    begun = await asyncio.gather(
        *(store.requests.begin("ann", "key", "digest") for _ in range(10)), return_exceptions=True
    )

    assert [one is None for one in begun].count(True) == 1
    assert sum(isinstance(one, ConflictError) for one in begun) == 9


async def test_a_key_can_not_be_used_with_another_request(store: Store) -> None:
    await store.requests.begin("ann", "key", "digest")

    with pytest.raises(ConflictError, match="another request"):
        await store.requests.begin("ann", "key", "other")


async def test_a_request_that_could_not_be_answered_is_tried_again(store: Store) -> None:
    await store.requests.begin("ann", "abandoned", "digest")
    await store.requests.abandon("ann", "abandoned")
    await store.requests.begin("ann", "died", "digest", lease_s=-1)

    assert await store.requests.begin("ann", "abandoned", "digest") is None
    assert await store.requests.begin("ann", "died", "digest") is None


async def test_an_answer_is_kept_if_and_only_if_its_entry_is(store: Store) -> None:
    await store.requests.begin("ann", "key", "digest")
    whole = kept_chat()

    with pytest.raises(ConflictError):
        await store.append(replace(whole, first_step=3))
    with pytest.raises(ConflictError, match="being answered"):
        await store.requests.begin("ann", "key", "digest")
    await store.append(whole)
    assert await store.requests.begin("ann", "key", "digest") == Answer(200, "body")


@pytest.mark.parametrize("what", ["trajectory", "completion"])
async def test_an_answer_is_deleted_with_what_it_tells(store: Store, what: str) -> None:
    whole = kept_chat()
    assert whole.interaction is not None
    other = KeptAnswer("ann", "other", Answer(200, "other"), time.time())
    for key in ("key", "other"):
        await store.requests.begin("ann", key, "digest")
    await store.append(whole)
    await store.requests.end(other)
    if what == "trajectory":
        assert await store.delete(whole.trajectory.id, "ann")
    else:
        assert await store.completions.delete(whole.interaction.completion_id, "ann")

    assert await store.requests.begin("ann", "other", "digest") == other.answer
    with pytest.raises(ConflictError, match="not kept") as caught:
        await store.requests.begin("ann", "key", "digest")
    assert caught.value.code == "answer_not_kept"


async def test_an_old_answer_goes_when_the_log_is_opened(store: Store, store_url: str) -> None:
    for key, age_s in (("old", KEPT_S + 60), ("new", 0)):
        await store.requests.begin("ann", key, "digest")
        answer = KeptAnswer("ann", key, Answer(200, key), time.time() - age_s)
        await store.requests.end(answer)
    Store.open(store_url).close()

    database = connect(store_url)
    with database.reader.begin() as db:
        assert list(db.scalars(select(idempotency.c.request_key))) == ["new"]
    database.close()


def kept_chat() -> Entry:
    """An answered request that came with a key."""
    entry = chat()
    assert entry.interaction is not None
    kept = KeptAnswer("ann", "key", Answer(200, "body"), entry.interaction.created)
    stored = entry.interaction.model_copy(update={"stored": True})
    return replace(entry, kept=kept, interaction=stored)
