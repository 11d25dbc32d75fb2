"""Text that databases do not take as it is: NUL, lone surrogates, wildcards, the very long."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from agentlm.errors import RequestError
from agentlm.messages import Message
from agentlm.store import EVERYTHING, Entry, Store
from agentlm.trajectory import Feedback
from support.records import chat, interaction, prompt, sampled, trajectory

ODD = "a\x00b' \"; -- % _ \\ 🙂 \u2028"


async def test_what_clients_write_is_kept_verbatim(store: Store) -> None:
    header = trajectory(metadata={ODD: ODD, "long": "x" * 10_000})
    answered = interaction(
        header,
        0,
        2,
        stored=True,
        metadata={ODD: ODD},
        messages=(Message(role="user", content=ODD),),
    )
    await store.append(Entry(header, 0, (prompt([1], text=ODD), sampled([2], text=ODD)), answered))
    judgement = Feedback(author="ann", name=ODD, comment=ODD)
    await store.add_feedback(judgement, trajectory_id=header.id)

    read = store.get(header.id, "ann")

    assert read is not None
    assert [step.text for step in read.steps] == [ODD, ODD]
    assert read.metadata == header.metadata
    assert read.interactions == (answered,)
    assert read.feedback == (judgement,)


@pytest.mark.parametrize("odd", [ODD, "\ud800", "x" * 100_000, "%", ""])
async def test_odd_ids_are_unknown_or_refused_but_never_a_failure(store: Store, odd: str) -> None:
    await store.append(chat())

    with suppress(RequestError):
        assert store.get(odd, None) is None
    with suppress(RequestError):
        assert store.by_completion(odd, odd) == []
    with suppress(RequestError):
        assert await store.claim(odd, [odd], tool_call_id=odd) is None
    with suppress(RequestError):
        assert store.page("ann", EVERYTHING.model_copy(update={"tags": {odd: odd}}))[0] == []
    with suppress(RequestError):
        assert not await store.delete(odd, "ann")
    assert not store.failing


async def test_a_wildcard_is_not_the_beginning_of_an_id(store: Store) -> None:
    await store.append(chat())

    assert store.ids("traj%") == []
    assert len(store.ids("traj_")) == 1


async def test_a_header_that_can_not_be_kept_is_the_caller_s_mistake(store: Store) -> None:
    entry = chat()
    odd = entry.trajectory.model_copy(update={"environment": "\ud800"})

    with pytest.raises(RequestError):
        await store.append(replace(entry, trajectory=odd))

    assert not store.failing
    await store.append(entry)
