import asyncio
from dataclasses import replace

import pytest

from agentlm.errors import ConflictError, NotFoundError
from agentlm.messages import Message
from agentlm.store import Entry, Store
from agentlm.trajectory import Outcome
from support.records import (
    TOOL,
    chat,
    follow_up,
    fork,
    full_step,
    interaction,
    prompt,
    sampled,
    trajectory,
)


async def test_what_is_read_equals_what_was_appended(store: Store) -> None:
    header = trajectory(
        source="rollout",
        environment="db",
        task_id="db-1",
        tools=(TOOL,),
        outcome=Outcome.LIMIT,
        reward=0.5,
        metadata={"nested": {"a": [1, None, "ü"]}, "plain": "x"},
        may_train=False,
    )
    steps = (prompt([1, 2]), full_step(), prompt([], text=""))
    answered = interaction(header, 0, 3, choice=1, delivered=7)

    await store.append(Entry(header, 0, steps, answered))

    whole = header.model_copy(update={"steps": steps, "interactions": (answered,)})
    assert store.get(header.id, "ann") == whole


async def test_a_step_whose_ids_an_upstream_did_not_tell_stays_so(store: Store) -> None:
    step = sampled([]).model_copy(update={"token_ids": None, "logprobs": None})
    header = trajectory()

    await store.append(Entry(header, 0, (step,)))

    read = store.get(header.id, None)
    assert read is not None
    assert read.steps == (step,)


async def test_logprobs_keep_float32_precision(store: Store) -> None:
    step = sampled([1]).model_copy(update={"logprobs": (-0.1,)})
    header = trajectory()

    await store.append(Entry(header, 0, (step,)))

    read = store.get(header.id, None)
    assert read is not None
    assert read.steps[0].logprobs == (pytest.approx(-0.1, rel=1e-7),)


async def test_a_run_grows_step_by_step_and_its_interaction_with_it(store: Store) -> None:
    header = trajectory(source="agent", outcome=Outcome.RUNNING, metadata={"a": "1"})
    asked = interaction(
        header, 0, 2, response=Message(role="assistant"), finish_reason=None, completion_id="c"
    )
    first = Entry(header, 0, (prompt([1]), sampled([2])), asked)
    ended = header.model_copy(update={"outcome": Outcome.COMPLETED, "metadata": {"b": "2"}})
    answered = asked.model_copy(
        update={"end_step": 4, "response": Message(role="assistant", content="done")}
    )

    await store.append(first)
    await store.append(Entry(ended, 2, (prompt([3]), sampled([4])), answered))

    read = store.get(header.id, "ann")
    assert read is not None
    assert list(read.token_ids()) == [1, 2, 3, 4]
    assert read.outcome is Outcome.COMPLETED
    assert read.metadata == {"a": "1", "b": "2"}
    assert read.interactions == (answered,)


@pytest.mark.parametrize("first_step", [0, 1, 3])
async def test_an_entry_must_begin_where_the_log_ends(store: Store, first_step: int) -> None:
    entry = chat()
    await store.append(entry)

    with pytest.raises(ConflictError, match="has 2 steps"):
        await store.append(replace(follow_up(entry), first_step=first_step))

    read = store.get(entry.trajectory.id, None)
    assert read is not None
    assert read.steps == entry.steps


async def test_a_trajectory_can_not_be_continued_by_another_owner(store: Store) -> None:
    entry = chat()
    await store.append(entry)
    stranger = entry.trajectory.model_copy(update={"owner": "bob"})

    with pytest.raises(ConflictError, match="another owner"):
        await store.append(replace(follow_up(entry), trajectory=stranger))


async def test_a_fork_is_a_whole_sequence_that_names_its_parent(store: Store) -> None:
    parent = chat(ids=[1, 2])
    child = fork(parent, 2, ids=[8])

    await store.append(parent)
    await store.append(child)

    read = store.get(child.trajectory.id, "ann")
    assert read is not None
    assert read.steps == parent.steps + child.steps
    assert (read.parent_id, read.parent_step) == (parent.trajectory.id, 2)
    header = store.page("ann", limit=1)[0][0]
    assert (header.step_count, header.sampled_tokens, header.prompt_tokens) == (4, 3, 3)


async def test_forking_needs_a_parent_of_the_same_owner_that_is_long_enough(store: Store) -> None:
    parent = chat()
    await store.append(parent)
    missing = fork(chat(), 2)
    too_long = fork(parent, 3)
    stolen = fork(replace(parent, trajectory=trajectory(id=parent.trajectory.id, owner="bob")), 2)

    with pytest.raises(NotFoundError):
        await store.append(missing)
    with pytest.raises(NotFoundError):
        await store.append(stolen)
    with pytest.raises(ConflictError, match="can't be forked at 3"):
        await store.append(too_long)


async def test_without_content_only_counts_and_audit_are_kept(store: Store, store_url: str) -> None:
    header = trajectory(tools=(TOOL,), metadata={"secret": "secret"}, outcome=Outcome.COMPLETED)
    call = full_step().model_copy(update={"text": "secret", "thought": "secret"})
    secret = interaction(header, 0, 2, messages=(Message(role="user", content="secret"),))
    entry = Entry(
        header,
        0,
        (prompt([1, 2], text="secret"), call),
        secret,
        keys=("key",),
        tool_call_ids=("call_1",),
        content=False,
    )

    await store.append(entry)

    read = store.get(header.id, "ann")
    assert read is not None
    kept = read.model_dump_json()
    assert "secret" not in kept
    assert "command" not in kept
    assert [step.token_ids for step in read.steps] == [None, None]
    assert read.steps[1].call is not None
    assert read.steps[1].call.name == "bash"
    assert read.interactions[0].usage == secret.usage
    counted = store.page("ann")[0][0]
    assert (counted.sampled_tokens, counted.prompt_tokens) == (3, 2)
    assert await store.claim("ann", ["key"], tool_call_id="call_1") is None


async def test_content_holds_for_a_whole_trajectory(store: Store) -> None:
    entry = chat()
    await store.append(entry)

    with pytest.raises(ConflictError, match="partly"):
        await store.append(replace(follow_up(entry), content=False))


async def test_a_bad_entry_fails_alone(store: Store) -> None:
    good = [chat() for _ in range(5)]
    header = trajectory()
    bad = [
        Entry(header, 0, (prompt([-1]),)),
        follow_up(chat()),
        Entry(header, 0, (prompt([1]), sampled([2**32]))),
    ]

    writes = [store.append(entry) for entry in (*good[:3], *bad, *good[3:])]
    results = await asyncio.gather(*writes, return_exceptions=True)

    assert [result is None for result in results] == [True] * 3 + [False] * 3 + [True] * 2
    assert store.get(header.id, None) is None
    assert all(store.get(entry.trajectory.id, None) for entry in good)


async def test_a_completion_belongs_to_its_first_trajectory(store: Store) -> None:
    entry, other = chat(), chat()
    assert entry.interaction is not None
    assert other.interaction is not None
    taken = {"completion_id": entry.interaction.completion_id}
    await store.append(entry)

    with pytest.raises(ConflictError):
        await store.append(replace(other, interaction=other.interaction.model_copy(update=taken)))

    assert store.get(other.trajectory.id, None) is None


async def test_deleting_takes_everything_that_hangs_on_it(store: Store) -> None:
    entry = chat(keys=["key"])
    assert entry.interaction is not None
    await store.append(entry)

    assert not await store.delete(entry.trajectory.id, "bob")
    assert await store.delete(entry.trajectory.id, "ann")

    assert not await store.delete(entry.trajectory.id, None)
    assert store.get(entry.trajectory.id, None) is None
    assert store.by_completion(entry.interaction.completion_id, None) == []
    assert await store.claim("ann", ["key"]) is None
