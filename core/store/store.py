"""The store: where trajectories are kept, and the index by which conversations go on.

Writes are coroutines that return when the database has committed. Reads are plain functions; call
them from a thread if an event loop must not wait. An `owner` limits every read and write to that
owner's rows. Where None is allowed, it stands for all owners, and is for administrators.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

from sqlalchemy import Connection, text

from agentlm.store.audit import AuditTrail
from agentlm.store.completions import Completions
from agentlm.store.contract import (
    Continuation,
    Entry,
    Family,
    Found,
    Header,
    ModelRecord,
    OwnerUse,
    Stats,
    Written,
)
from agentlm.store.conversations import Conversations
from agentlm.store.database import Database, available, open_database
from agentlm.store.idempotency import Requests, forget_old
from agentlm.store.keys import Keys
from agentlm.store.read import family, headers, queries, search, usage
from agentlm.store.selection import EVERYTHING, Selection
from agentlm.store.write import changes
from agentlm.store.write.append import append, call_key
from agentlm.store.write.writer import Writer
from agentlm.trajectory import Feedback, Interaction, Outcome, Trajectory

_IDS_A_QUERY = 500


class Store:
    """An open log. Any number of threads may read it; writes come from event loops."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = Writer(database.writer, database.committed)
        self.completions = Completions(self._writer, self._reading)
        self.keys = Keys(self._writer, self._reading)
        self.conversations = Conversations(self._writer, self._reading)
        self.requests = Requests(self._writer)
        self.audit = AuditTrail(self._writer, self._reading)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open `sqlite:///FILE` or `postgresql+psycopg://…`, and migrate it to this schema.

        Deletes answers to requests with an `Idempotency-Key` that are older than a day.

        Raises OperatorError if it can't be reached or written, or if its schema is newer.
        """
        return cls(open_database(url, forget_old))

    def close(self) -> None:
        """Commit what is queued and disconnect. Idempotent."""
        self._writer.close()
        self._database.close()

    @property
    def commits(self) -> int:
        """Number of transactions that this process has committed."""
        return self._writer.commits

    @property
    def failing(self) -> bool:
        """Whether the last transaction failed. `probe` finds out whether the next one would."""
        return self._writer.failing

    async def probe(self) -> None:
        """Write to the database without changing it. Raises UnavailableError if that fails."""
        await self._writer.run(_touch)

    async def ready(self) -> None:
        """Raises UnavailableError if the last transaction failed and the next one would fail,
        too."""
        if self.failing:
            await self.probe()

    # Writes

    async def append(self, entry: Entry) -> None:
        """Add to a trajectory. Durable on return.

        A fork's copied steps are copied inside the database. Raises ConflictError if the entry does
        not begin where the stored trajectory ends.
        """
        await self._writer.run(partial(append, entry=entry))

    async def claim(
        self,
        owner: str,
        keys: Sequence[str],
        tool_call_id: str | None = None,
        *,
        take: bool = True,
    ) -> Continuation | None:
        """Find where a conversation goes on, and take the right to continue it, unless told
        otherwise.

        `keys` are in order, the longest prefix of the conversation first. A pending tool call has
        priority over all keys. Of concurrent claims of one place, exactly one does not have to
        fork. A claim without a following entry makes the next one fork.
        """
        calls = [] if tool_call_id is None else [call_key(tool_call_id)]
        place = await asyncio.to_thread(self._find_place, owner, [*calls, *keys])
        if place is None:
            return None
        mine = take and await self._take(place)
        trajectory = await asyncio.to_thread(self._prefix, place)
        if trajectory is None:
            return None
        index = None if place.conversation in calls else keys.index(place.conversation)
        return Continuation(trajectory, place.step, index, fork=not mine)

    async def claim_after(
        self,
        answered: Interaction,
        suits: Callable[[Trajectory], bool],
        *,
        take: bool = True,
    ) -> Continuation | None:
        """Like `claim`, by an interaction instead of keys: go on from where that interaction ended.

        Returns None, and claims nothing, if it is gone or its trajectory does not suit.
        """
        place = await asyncio.to_thread(self._place_after, answered)
        if place is None:
            return None
        trajectory = await asyncio.to_thread(self._prefix, place)
        if trajectory is None or not suits(trajectory):
            return None
        mine = take and await self._take(place)
        return Continuation(trajectory, place.step, None, fork=not mine)

    async def renew(self, trajectory_id: str, lease_s: float) -> None:
        """Let a trajectory count as running for `lease_s` more seconds."""
        renew = partial(changes.renew, trajectory_id=trajectory_id, lease_s=lease_s)
        await self._writer.run(renew)

    async def add_feedback(
        self, feedback: Feedback, *, trajectory_id: str, admin: bool = False
    ) -> Header:
        """Add feedback on the author's own trajectory; an admin's may be on any.

        The reward becomes `reward_of` all feedback, unless the environment has scored or the
        outcome is `error`. Raises RequestError for a value outside [0, 1].
        """
        changes.check_value(feedback.value, "value")
        owner = None if admin else feedback.author
        work = partial(
            changes.add_feedback, trajectory_id=trajectory_id, feedback=feedback, owner=owner
        )
        return await self._change(trajectory_id, work)

    async def score(
        self,
        trajectory_id: str,
        owner: str | None,
        *,
        reward: float | None,
        outcome: Outcome | None = None,
        error_classes: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Header:
        """Keep an environment's score. Its reward takes precedence over feedback for good.

        Arguments that are None or empty change nothing; `metadata` entries are added to the
        existing ones. An `error` never has a reward: setting that outcome clears it, and giving
        both is a conflict.
        """
        changes.check_value(reward, "reward")
        work = partial(
            changes.score,
            trajectory_id=trajectory_id,
            owner=owner,
            reward=reward,
            outcome=outcome,
            error_classes=error_classes,
            metadata=metadata or {},
        )
        return await self._change(trajectory_id, work)

    async def tag(
        self, trajectory_id: str, owner: str | None, tags: Mapping[str, str | None]
    ) -> Header:
        """Set text entries of a trajectory's metadata. None removes an entry.

        Raises RequestError for an entry that is not text, ConflictError for a row without content.
        """
        work = partial(changes.tag, trajectory_id=trajectory_id, owner=owner, tags=tags)
        return await self._change(trajectory_id, work)

    async def delete(self, trajectory_id: str, owner: str | None) -> bool:
        """Delete a trajectory and everything that belongs to it; its forks stay. False if there is
        none."""
        work = partial(changes.remove, trajectory_id=trajectory_id, owner=owner)
        return await self._writer.run(work)

    async def mark_trained(self, card: str, trajectory_ids: Iterable[str]) -> None:
        """Record which trajectories a model card was trained on."""
        ids = list(trajectory_ids)
        for start in range(0, len(ids), _IDS_A_QUERY):
            some = ids[start : start + _IDS_A_QUERY]
            await self._writer.run(partial(changes.mark_trained, card=card, trajectory_ids=some))

    # Reads

    def get(self, trajectory_id: str, owner: str | None) -> Trajectory | None:
        """One trajectory, whole; None if it doesn't exist or belongs to another owner."""
        with self._reading() as db:
            return queries.get(db, trajectory_id, owner)

    def ids(self, beginning: str, limit: int = 2) -> list[str]:
        """Trajectories of all owners whose id has this beginning."""
        with self._reading() as db:
            return queries.ids(db, beginning, limit)

    def by_completion(self, completion_id: str, owner: str | None) -> list[Interaction]:
        """The choices of a completion in order; empty if it doesn't exist or is another owner's."""
        with self._reading() as db:
            return queries.by_completion(db, completion_id, owner)

    def trained_on(self, trajectory_id: str) -> list[str]:
        """The model cards that were trained on a trajectory."""
        with self._reading() as db:
            return queries.trained_on(db, trajectory_id)

    def page(
        self,
        owner: str | None,
        selection: Selection = EVERYTHING,
        *,
        limit: int = 20,
        after: str | None = None,
    ) -> tuple[list[Header], bool]:
        """Headers of an owner, newest first, and whether there are more.

        `after` is the last id seen. The selection's own limit is ignored.
        """
        with self._reading() as db:
            return headers.page(db, owner, selection, after, limit)

    def search(
        self, owner: str | None, selection: Selection, *, limit: int = 20, after: str | None = None
    ) -> Found:
        """Like `page`, for trajectories with `selection.text`. A page looks at a bounded number."""
        with self._reading() as db:
            return search.search(db, owner, selection, after, limit)

    def previews(self, page_headers: Sequence[Header]) -> dict[str, str]:
        """The beginning of each trajectory's first question, by its id; left out if it has none."""
        with self._reading() as db:
            return search.previews(db, page_headers)

    def family(self, trajectory_id: str, owner: str | None) -> Family | None:
        """A trajectory's ancestors and all their forks; None if there is no such trajectory."""
        with self._reading() as db:
            return family.family(db, trajectory_id, owner)

    def written(self, after: int, limit: int = 1000) -> list[Written]:
        """Steps of all owners written after a place, oldest first, without copied ones.

        A negative place counts from the end: the last `-after` steps. On PostgreSQL, a step of
        another server's transaction can appear before a place that was read already.
        """
        with self._reading() as db:
            return queries.written(db, after, limit)

    def select(self, selection: Selection) -> Iterator[Trajectory]:
        """Whole trajectories in the order they were begun, in constant memory.

        Rows without content are left out. No transaction stays open between batches, so an export
        does not hold the log back. What is written after the first batch is not seen.
        """
        with self._reading() as db:
            until = headers.last_key(db)
        after, left = 0, until if selection.limit is None else selection.limit
        while left > 0:
            with self._reading() as db:
                rows = headers.batch(db, selection, after, until, left)
                trajectories = list(queries.whole(db, rows))
            if not trajectories:
                return
            yield from trajectories
            after, left = rows[-1]["key"], left - len(trajectories)

    def count(self, selection: Selection) -> int:
        """Number of trajectories in a selection."""
        with self._reading() as db:
            return headers.count(db, selection)

    def stats(self, selection: Selection = EVERYTHING) -> Stats:
        """Counts over a selection, by default over the whole log."""
        with self._reading() as db:
            return headers.stats(db, selection)

    def record_of(self, owner: str | None, model: str) -> ModelRecord:
        """A model's recent performance in the trajectories of an owner; None: of all owners."""
        with self._reading() as db:
            return usage.of_model(db, owner, model)

    def use_by_owner(self) -> dict[str, OwnerUse]:
        with self._reading() as db:
            return usage.by_owner(db)

    async def _take(self, place: queries.Place) -> bool:
        take = partial(changes.claim, key=place.key, step=place.step)
        return place.free and await self._writer.run(take)

    def _place_after(self, answered: Interaction) -> queries.Place | None:
        with self._reading() as db:
            return queries.place_at(db, answered.owner, answered.trajectory_id, answered.end_step)

    def _find_place(self, owner: str, conversations: Sequence[str]) -> queries.Place | None:
        with self._reading() as db:
            return queries.find_place(db, owner, conversations)

    def _prefix(self, place: queries.Place) -> Trajectory | None:
        with self._reading() as db:
            return queries.prefix(db, place)

    async def _change(self, trajectory_id: str, work: Any) -> Header:
        def change(db: Connection) -> Header:
            work(db)
            return headers.header(db, trajectory_id)

        return await self._writer.run(change)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with available(self._database.url), self._database.reader.begin() as db:
            yield db


def _touch(db: Connection) -> None:
    db.execute(text("UPDATE alembic_version SET version_num = version_num"))
