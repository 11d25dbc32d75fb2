"""Whatever conversations do at the same time, each sequence stays exactly what was said in it."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentlm.store import Entry, Selection, Store
from support.records import interaction, prompt, sampled, trajectory

Act = tuple[str, int]
ACTS = st.tuples(st.sampled_from(["begin", "go on", "go on", "abandon"]), st.integers(0, 50))


@dataclass
class Talk:
    """Clients of one owner, who know every conversation that was answered."""

    store: Store
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    sequences: dict[str, list[int]] = field(default_factory=dict)
    """Every trajectory's sequence, as its client saw it."""
    conversations: list[str] = field(default_factory=list)
    tokens: count[int] = field(default_factory=count)

    async def client(self, acts: list[Act]) -> None:
        for act, choice in acts:
            if act == "begin" or not self.conversations:
                await self._begin()
            elif act == "go on":
                await self._go_on(self.conversations[choice % len(self.conversations)])
            else:
                await self._claim(self.conversations[choice % len(self.conversations)])

    async def _begin(self) -> None:
        header = trajectory(owner=self.owner)
        await self._say(Entry(header, 0, ()), [])

    async def _claim(self, key: str):  # type: ignore[no-untyped-def]
        place = await self.store.claim(self.owner, ["unknown", key])
        assert place is not None
        before = list(place.trajectory.token_ids())
        assert before == self.sequences[place.trajectory.id][: len(before)]
        return place, before

    async def _go_on(self, key: str) -> None:
        place, before = await self._claim(key)
        header = place.trajectory
        if place.fork:
            parent = {"parent_id": header.id, "parent_step": place.step}
            header = trajectory(owner=self.owner, **parent)
        await self._say(Entry(header, place.step, ()), before)

    async def _say(self, entry: Entry, before: list[int]) -> None:
        asked, reply = [next(self.tokens)], [next(self.tokens), next(self.tokens)]
        steps = (prompt(asked), sampled(reply))
        key = uuid.uuid4().hex
        answered = interaction(entry.trajectory, entry.first_step, entry.first_step + 2)
        whole = Entry(entry.trajectory, entry.first_step, steps, answered, keys=(key,))
        await self.store.append(whole)
        self.sequences[entry.trajectory.id] = [*before, *asked, *reply]
        self.conversations.append(key)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(clients=st.lists(st.lists(ACTS, max_size=8), min_size=1, max_size=4))
def test_every_interleaving_keeps_sequences_exact(store: Store, clients: list[list[Act]]) -> None:
    talk = Talk(store)

    async def run() -> None:
        await asyncio.gather(*map(talk.client, clients))

    asyncio.run(run())

    stored = {one.id: one for one in store.select(Selection(owner=talk.owner))}
    assert {key: list(one.token_ids()) for key, one in stored.items()} == talk.sequences
    own: Counter[int] = Counter()
    for one in stored.values():
        cut = one.parent_step or 0
        if one.parent_id is not None:
            assert stored[one.parent_id].steps[:cut] == one.steps[:cut]
            assert stored[one.parent_id].created <= one.created
        own.update(
            token
            for step in one.steps[cut:]
            if step.origin == "sampled"
            for token in step.token_ids or ()
        )
    assert set(own.values()) <= {1}
    assert sum(own.values()) == 2 * len(talk.conversations)
