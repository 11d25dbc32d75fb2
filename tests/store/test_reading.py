import asyncio
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from agentlm.errors import NotFoundError
from agentlm.store import Selection, Store
from agentlm.trajectory import Outcome
from support.records import chat, fork, interaction, prompt, sampled, trajectory


async def test_pages_go_back_in_time_without_gaps_or_repeats(store: Store) -> None:
    entries = [chat(created=float(number // 3)) for number in range(25)]
    await asyncio.gather(*map(store.append, entries))

    seen: list[str] = []
    more = True
    while more:
        headers, more = store.page("ann", limit=7, after=seen[-1] if seen else None)
        seen += [header.id for header in headers]

    expected = sorted(
        (entry.trajectory for entry in entries), key=lambda t: (t.created, t.id), reverse=True
    )
    assert seen == [one.id for one in expected]


async def test_a_page_shows_headers_with_counts(store: Store) -> None:
    entry = chat(ids=[1, 2, 3], metadata={"a": 1})
    await store.append(entry)

    (header,), more = store.page("ann")

    assert not more
    assert header.steps == ()
    assert (header.step_count, header.sampled_tokens, header.prompt_tokens) == (2, 3, 3)
    assert header.metadata == {"a": 1}


async def test_a_page_is_filtered(store: Store) -> None:
    wanted = chat(model="big", source="agent", metadata={"run": "7"}, environment="db")
    for entry in (wanted, chat(), chat(owner="bob", model="big")):
        await store.append(entry)

    def ids(owner: str | None, **conditions: Any) -> list[str]:
        also = Selection(may_train_only=False, **conditions)
        return [header.id for header in store.page(owner, also)[0]]

    assert len(ids(None)) == 3
    assert len(ids(None, model="big")) == 2
    for conditions in (
        {"model": "big"},
        {"source": "agent"},
        {"environment": "db"},
        {"tags": {"run": "7"}},
    ):
        assert ids("ann", **conditions) == [wanted.trajectory.id]
    assert ids("ann", tags={"run": "8"}) == []
    assert ids("ann", outcomes=(Outcome.LIMIT,)) == []
    assert [header.id for header in store.page("ann", Selection(model="big"))[0]] == [
        wanted.trajectory.id
    ]


@pytest.mark.parametrize("few", [0, 2, 1000])
async def test_a_page_by_tags_is_the_same_however_many_have_them(
    store: Store, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("agentlm.store.read.headers._FEW", few)
    entries = [
        chat(created=float(number), metadata={"all": "yes", "half": str(number % 2)})
        for number in range(8)
    ]
    for entry in [*entries, chat(owner="ben", metadata={"half": "1"})]:
        await store.append(entry)
    odd = [entry.trajectory.id for entry in entries[1::2]]
    both = {"all": "yes", "half": "1"}

    first, more = store.page("ann", Selection(tags=both), limit=3)
    rest, end = store.page("ann", Selection(tags=both), limit=3, after=first[-1].id)

    assert [one.id for one in [*first, *rest]] == odd[::-1]
    assert (more, end) == (True, False)
    assert store.page("ann", Selection(tags={**both, "half": "2"})) == ([], False)


async def test_a_page_after_somebody_else_s_trajectory_is_not_found(store: Store) -> None:
    entry = chat()
    await store.append(entry)

    with pytest.raises(NotFoundError):
        store.page("bob", after=entry.trajectory.id)


async def test_a_completion_leads_to_its_choices(store: Store) -> None:
    first, second = chat(), chat()
    answers = [
        interaction(entry.trajectory, 0, 2, completion_id="chatcmpl-1", choice=choice)
        for choice, entry in enumerate((first, second))
    ]
    await store.append(replace(second, interaction=answers[1]))
    await store.append(replace(first, interaction=answers[0]))

    assert store.by_completion("chatcmpl-1", "ann") == answers
    assert store.by_completion("chatcmpl-1", "bob") == []


async def test_reading_is_scoped_to_the_owner(store: Store) -> None:
    entry = chat()
    await store.append(entry)

    assert store.get(entry.trajectory.id, "bob") is None
    assert store.get(entry.trajectory.id, None) is not None
    assert store.page("bob") == ([], False)


async def test_a_run_whose_lease_ended_is_unknown(store: Store) -> None:
    alive, dead = (chat(outcome=Outcome.RUNNING) for _ in range(2))
    await store.append(replace(alive, lease_s=60))
    await store.append(replace(dead, lease_s=-1))

    outcomes = {header.id: header.outcome for header in store.page(None)[0]}
    unknown = list(store.select(Selection(outcomes=(Outcome.UNKNOWN,))))

    assert outcomes[alive.trajectory.id] is Outcome.RUNNING
    assert outcomes[dead.trajectory.id] is Outcome.UNKNOWN
    assert [one.id for one in unknown] == [dead.trajectory.id]
    assert store.stats().outcomes == {"running": 1, "unknown": 1}


async def test_a_selection_holds_whole_trajectories_in_the_order_they_began(store: Store) -> None:
    entries = [chat() for _ in range(5)]
    for entry in entries:
        await store.append(entry)

    selected = list(store.select(Selection()))

    assert [one.steps for one in selected] == [entry.steps for entry in entries]
    assert [one.interactions for one in selected] == [(e.interaction,) for e in entries]
    assert selected == list(store.select(Selection()))


async def test_every_condition_of_a_selection_must_hold(store: Store) -> None:
    wanted = chat(
        model="big",
        source="rollout",
        environment="db",
        reward=0.9,
        created=50.0,
        metadata={"a": "b"},
    )
    off = [
        {"model": "small"},
        {"source": "chat"},
        {"environment": "os"},
        {"reward": 0.1},
        {"reward": None},
        {"created": 1.0},
        {"created": 100.0},
        {"metadata": {}},
        {"may_train": False},
        {"outcome": Outcome.CANCELLED},
        {"owner": "bob"},
    ]
    await store.append(wanted)
    for change in off:
        header = wanted.trajectory.model_copy(update={"id": trajectory().id, **change})
        await store.append(replace(wanted, trajectory=header, interaction=None))

    selection = Selection(
        owner="ann",
        model="big",
        source="rollout",
        environment="db",
        outcomes=(Outcome.COMPLETED, Outcome.LIMIT),
        min_reward=0.5,
        since=50.0,
        until=100.0,
        tags={"a": "b"},
    )

    assert [one.id for one in store.select(selection)] == [wanted.trajectory.id]


async def test_a_selection_leaves_out_what_was_kept_without_content(store: Store) -> None:
    await store.append(replace(chat(), content=False))

    assert list(store.select(Selection(may_train_only=False))) == []
    assert store.stats().trajectories == 1


async def test_a_selection_ends_at_its_limit(store: Store) -> None:
    for _ in range(5):
        await store.append(chat())

    assert len(list(store.select(Selection(limit=3)))) == 3
    assert len(list(store.select(Selection(limit=50)))) == 5


async def test_no_sampled_token_counts_twice_over_a_selection(store: Store) -> None:
    parent = chat(ids=[1])
    children = [fork(parent, 2, ids=[number]) for number in (2, 3)]
    grandchild = fork(children[0], 4, ids=[4])
    for entry in (parent, *children, grandchild):
        await store.append(entry)

    own = [
        token
        for one in store.select(Selection())
        for step in one.steps[one.parent_step or 0 :]
        if step.origin == "sampled"
        for token in step.token_ids or ()
    ]

    assert sorted(own) == [1001, 1002, 1003, 1004]


async def test_a_selection_streams_in_constant_memory(store: Store) -> None:
    long = (prompt(range(1000), text="x" * 4000), sampled(range(4000)))
    entries = [replace(chat(), steps=long) for _ in range(150)]
    await asyncio.gather(*map(store.append, entries))
    del entries

    def peak(limit: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in store.select(Selection(limit=limit))) == limit
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(150) < 1.5 * peak(30)


async def test_a_long_export_does_not_hold_the_log_back(store: Store) -> None:
    for _ in range(3):
        await store.append(chat())

    export = store.select(Selection())
    first = next(export)
    await store.append(chat())
    assert await store.delete(first.id, None)

    assert len(list(export)) == 2


async def test_stats_count_everything(store: Store) -> None:
    await store.append(chat(ids=[1, 2], model="a", reward=1.0))
    await store.append(chat(ids=[1], model="b", source="agent"))
    scored = chat(outcome=Outcome.LIMIT)
    await store.append(scored)
    await store.score(scored.trajectory.id, None, reward=0.0, error_classes=("refusal",))

    stats = store.stats()

    assert (stats.trajectories, stats.interactions, stats.steps) == (3, 3, 6)
    assert (stats.sampled_tokens, stats.prompt_tokens) == (6, 6)
    assert (stats.rewarded, stats.mean_reward) == (2, 0.5)
    assert stats.outcomes == {"completed": 2, "limit": 1}
    assert stats.models == {"a": 1, "b": 1, "tiny": 1}
    assert stats.error_classes == {"refusal": 1}
    assert store.stats(Selection(model="nobody")).mean_reward is None


async def test_what_is_written_can_be_followed(store: Store) -> None:
    parent = chat(ids=[1])
    await store.append(parent)
    seen = store.written(-1)
    child = fork(parent, 2, ids=[2])
    await store.append(child)

    news = store.written(seen[-1].place)

    assert [one.step for one in seen] == [parent.steps[1]]
    assert [(one.trajectory_id, one.number, one.step) for one in news] == [
        (child.trajectory.id, 2, child.steps[0]),
        (child.trajectory.id, 3, child.steps[1]),
    ]
    assert store.written(news[-1].place) == []
    assert len(store.written(-100)) == 4
