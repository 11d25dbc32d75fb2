"""API keys, and requests that must have one effect."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agentlm.errors import ConflictError
from agentlm.store import Answer, ApiKey, KeptAnswer, Store
from store.records import chat


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
    await store.requests.end(KeptAnswer("ann", "key", answer))
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
    kept = KeptAnswer("ann", "key", Answer(200, "body"))
    whole = replace(chat(), kept=kept)

    with pytest.raises(ConflictError):
        await store.append(replace(whole, first_step=3))
    with pytest.raises(ConflictError, match="being answered"):
        await store.requests.begin("ann", "key", "digest")
    await store.append(whole)
    assert await store.requests.begin("ann", "key", "digest") == kept.answer
