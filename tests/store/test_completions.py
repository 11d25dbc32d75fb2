from dataclasses import replace
from typing import Any

import pytest

from agentlm.errors import NotFoundError
from agentlm.store import Entry, Store
from agentlm.trajectory import Feedback
from support.records import chat, follow_up, interaction


def stored(entry: Entry, **fields: Any) -> Entry:
    """The same, listed among its owner's stored completions."""
    assert entry.interaction is not None
    update = {"stored": True, **fields}
    return replace(entry, interaction=entry.interaction.model_copy(update=update))


def completion_id(entry: Entry) -> str:
    assert entry.interaction is not None
    return entry.interaction.completion_id


async def test_only_what_was_asked_to_be_stored_is_listed(store: Store) -> None:
    listed, other = stored(chat(model="big"), metadata={"run": "7"}), chat()
    await store.append(listed)
    await store.append(other)

    (found,), more = store.completions.page("ann")

    assert not more
    assert (found.id, found.model, found.choices) == (
        completion_id(listed),
        "big",
        (listed.interaction,),
    )
    assert store.completions.get(found.id, "ann") == found
    assert store.completions.get(completion_id(other), "ann") is None
    assert store.completions.get(found.id, "bob") is None


async def test_pages_go_through_completions_in_either_direction(store: Store) -> None:
    entries = [stored(chat(), created=float(number // 2)) for number in range(9)]
    for entry in entries:
        await store.append(entry)

    def walk(*, newest_first: bool) -> list[str]:
        seen: list[str] = []
        more = True
        while more:
            after = seen[-1] if seen else None
            found, more = store.completions.page(
                "ann", limit=2, after=after, newest_first=newest_first
            )
            seen += [one.id for one in found]
        return seen

    forwards = walk(newest_first=False)

    assert sorted(forwards) == sorted(map(completion_id, entries))
    assert walk(newest_first=True) == forwards[::-1]
    with pytest.raises(NotFoundError):
        store.completions.page("bob", after=forwards[0])


async def test_completions_are_filtered_by_model_and_metadata(store: Store) -> None:
    wanted = stored(chat(model="big"), metadata={"run": "7", "kind": "a"})
    await store.append(wanted)
    await store.append(stored(chat(model="big"), metadata={"run": "8"}))
    await store.append(stored(chat(), metadata={"run": "7"}))

    found, _ = store.completions.page("ann", model="big", metadata={"run": "7"})
    both, _ = store.completions.page("ann", metadata={"run": "7"})

    assert [one.id for one in found] == [completion_id(wanted)]
    assert len(both) == 2
    assert store.completions.page("ann", metadata={"run": "7", "kind": "b"}) == ([], False)


async def test_all_choices_of_a_completion_come_together(store: Store) -> None:
    entries = [
        stored(chat(), completion_id="chatcmpl-1", choice=choice, created=1.0) for choice in (1, 0)
    ]
    for entry in entries:
        await store.append(entry)

    (found,), _ = store.completions.page("ann")

    assert [one.choice for one in found.choices] == [0, 1]


async def test_new_metadata_replaces_the_old(store: Store) -> None:
    entry = stored(chat(), metadata={"a": "1", "b": "2"})
    await store.append(entry)

    changed = await store.completions.update(completion_id(entry), "ann", {"a": "3"})

    assert changed.choices[0].metadata == {"a": "3"}
    assert store.completions.page("ann", metadata={"b": "2"}) == ([], False)
    assert len(store.completions.page("ann", metadata={"a": "3"})[0]) == 1
    with pytest.raises(NotFoundError):
        await store.completions.update(completion_id(entry), "bob", {})


async def test_deleting_the_only_completion_deletes_the_trajectory(store: Store) -> None:
    entry = stored(chat(keys=["one"]))
    await store.append(entry)

    assert not await store.completions.delete(completion_id(entry), "bob")
    assert await store.completions.delete(completion_id(entry), "ann")

    assert not await store.completions.delete(completion_id(entry), "ann")
    assert store.get(entry.trajectory.id, None) is None


async def test_deleting_the_last_completion_cuts_the_trajectory_before_it(store: Store) -> None:
    first = stored(chat(keys=["one"]))
    second = stored(follow_up(first, keys=["two"]))
    judgements = [
        Feedback(author="ann", value=value, completion_id=completion_id(entry))
        for entry, value in ((first, 1.0), (second, 0.0))
    ]
    await store.append(first)
    await store.append(second)
    for one, name in zip(judgements, ("first", "second"), strict=True):
        renamed = one.model_copy(update={"name": name})
        await store.add_feedback(renamed, trajectory_id=first.trajectory.id)

    await store.completions.delete(completion_id(second), "ann")

    read = store.get(first.trajectory.id, "ann")
    assert read is not None
    assert read.steps == first.steps
    assert [one.name for one in read.feedback] == ["first"]
    assert read.reward == 1.0
    header = store.page("ann")[0][0]
    assert (header.step_count, header.sampled_tokens, header.prompt_tokens) == (2, 3, 3)
    assert await store.claim("ann", ["two"]) is None
    await store.append(follow_up(first, keys=["again"]))


async def test_what_a_later_completion_needs_stays(store: Store) -> None:
    first = stored(chat())
    second = stored(follow_up(first))
    await store.append(first)
    await store.append(second)

    await store.completions.delete(completion_id(first), "ann")

    read = store.get(first.trajectory.id, "ann")
    assert read is not None
    assert read.steps == first.steps + second.steps
    assert read.interactions == (second.interaction,)


async def test_a_completion_kept_without_content_is_not_listed(store: Store) -> None:
    entry = chat()
    answered = interaction(entry.trajectory, 0, 2, stored=True, metadata={"secret": "secret"})
    await store.append(replace(entry, interaction=answered, content=False))

    assert store.completions.page("ann") == ([], False)
