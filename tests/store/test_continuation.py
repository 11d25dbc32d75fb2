import asyncio
from dataclasses import replace

from agentlm.store import Store
from support.records import chat, follow_up, fork


async def test_a_conversation_goes_on_from_its_longest_known_prefix(store: Store) -> None:
    first = chat(keys=["one"])
    second = follow_up(first, keys=["two"])
    await store.append(first)
    await store.append(second)

    place = await store.claim("ann", ["three", "two", "one"])

    assert place is not None
    assert place.trajectory.id == first.trajectory.id
    assert place.trajectory.steps == first.steps + second.steps
    assert (place.step, place.key_index, place.fork) == (4, 1, False)


async def test_an_unknown_conversation_has_no_place(store: Store) -> None:
    await store.append(chat(keys=["one"]))

    assert await store.claim("ann", ["other"]) is None
    assert await store.claim("ann", []) is None
    assert await store.claim("bob", ["one"]) is None


async def test_many_keys_are_looked_up_in_order(store: Store) -> None:
    await store.append(chat(keys=["last"]))

    place = await store.claim("ann", [*(f"unknown {n}" for n in range(1200)), "last"])

    assert place is not None
    assert place.key_index == 1200


async def test_a_pending_call_wins_over_the_conversation(store: Store) -> None:
    calling = replace(chat(keys=["one"]), tool_call_ids=("call_1",))
    await store.append(calling)
    await store.append(chat(keys=["two"]))

    place = await store.claim("ann", ["two"], tool_call_id="call_1")

    assert place is not None
    assert place.trajectory.id == calling.trajectory.id
    assert place.key_index is None


async def test_a_call_that_is_not_known_falls_back_to_the_conversation(store: Store) -> None:
    await store.append(chat(keys=["one"]))

    place = await store.claim("ann", ["one"], tool_call_id="call_1")

    assert place is not None
    assert place.key_index == 0
    assert await store.claim("bob", ["one"], tool_call_id="call_1") is None


async def test_a_key_is_never_taken_for_a_call(store: Store) -> None:
    await store.append(replace(chat(), tool_call_ids=("call_1",)))

    assert await store.claim("ann", ["call_1"]) is None


async def test_going_on_from_the_middle_forks(store: Store) -> None:
    first = chat(keys=["one"])
    await store.append(first)
    await store.append(follow_up(first))

    place = await store.claim("ann", ["one"])

    assert place is not None
    assert place.fork
    assert place.trajectory.steps == first.steps


async def test_a_claim_that_was_never_used_costs_a_fork(store: Store) -> None:
    await store.append(chat(keys=["one"]))

    places = [await store.claim("ann", ["one"]) for _ in range(3)]

    assert [place and place.fork for place in places] == [False, True, True]


async def test_an_extended_trajectory_can_be_claimed_again_at_its_new_end(store: Store) -> None:
    first = chat(keys=["one"])
    await store.append(first)
    await store.claim("ann", ["one"])
    await store.append(follow_up(first, keys=["two"]))

    place = await store.claim("ann", ["two"])

    assert place is not None
    assert not place.fork


async def test_of_equal_conversations_an_unclaimed_and_new_one_is_taken(store: Store) -> None:
    entries = [chat(keys=["same"]) for _ in range(3)]
    for entry in entries:
        await store.append(entry)

    places = [await store.claim("ann", ["same"]) for _ in range(4)]

    taken = [place.trajectory.id for place in places if place and not place.fork]
    assert taken == [entry.trajectory.id for entry in reversed(entries)]
    assert places[3] is not None
    assert places[3].fork


async def test_of_concurrent_claims_exactly_one_does_not_fork(store: Store) -> None:
    await store.append(chat(keys=["one"]))

    places = await asyncio.gather(*(store.claim("ann", ["one"]) for _ in range(20)))

    assert sorted(place is None or place.fork for place in places) == [False] + [True] * 19


async def test_concurrent_claims_from_two_servers_do_not_both_extend(
    store: Store, store_url: str
) -> None:
    other = Store.open(store_url)
    entries = [chat(keys=[str(number)]) for number in range(20)]
    await asyncio.gather(*map(store.append, entries))

    claims = [one.claim("ann", [str(n)]) for n in range(20) for one in (store, other)]
    places = await asyncio.gather(*claims)

    free = [place.trajectory.id for place in places if place and not place.fork]
    assert sorted(free) == sorted(entry.trajectory.id for entry in entries)
    other.close()


async def test_a_fork_is_continued_by_its_own_key(store: Store) -> None:
    parent = chat(keys=["one"])
    child = fork(parent, 2, keys=["two"])
    await store.append(parent)
    await store.append(child)

    place = await store.claim("ann", ["two", "one"])

    assert place is not None
    assert place.trajectory.id == child.trajectory.id
    assert place.trajectory.steps == parent.steps + child.steps
    assert not place.fork
