"""Play more of the kinds of task that are solved neither always nor never, judged so far.

A kind's next task is drawn with a chance in proportion to how unsure its success is, p (1 − p).
One success and one failure are assumed beforehand: so each kind is tried, and none is given up.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from random import Random

from agentlm.environments.playing.progress import Result
from agentlm.environments.task import Task

_AHEAD = 500
"""How many tasks of the stream are read ahead, to find one of a kind and to see the kinds."""


class Curriculum:
    """`limit` tasks out of a stream. `note` each result, also those kept from before."""

    def __init__(
        self, stream: Iterable[Task], limit: int, seed: int, kept: Collection[Result] = ()
    ) -> None:
        self._stream = iter(stream)
        self._limit = limit
        self._random = Random(seed)
        self._begun = {result.task_id for result in kept}
        self._seen: set[str] = set()
        self._waiting: dict[str, deque[Task]] = defaultdict(deque)
        self._tries: Counter[str] = Counter()
        self._successes: Counter[str] = Counter()
        for result in kept:
            self.note(result)

    def note(self, result: Result) -> None:
        """Count a try; one that the infrastructure broke says nothing."""
        if result.reward is not None:
            self._tries[result.family] += 1
            self._successes[result.family] += result.success

    def __iter__(self) -> Iterator[Task]:
        """What was begun before comes first: some of its tries may be missing."""
        begun = list(self._begun_before())
        yield from begun[: self._limit]
        for _ in range(self._limit - len(begun)):
            if (task := self._next()) is None:
                return
            yield task

    def _begun_before(self) -> Iterator[Task]:
        """Takes them out of the queue, reading the stream up to the last of them."""
        while self._look_ahead() and self._begun:
            for family, tasks in self._waiting.items():
                yield from (task for task in tasks if task.id in self._begun)
                self._waiting[family] = deque(t for t in tasks if t.id not in self._begun)
            self._begun -= self._seen

    def _next(self) -> Task | None:
        while families := list(self._waiting):
            weights = [self._unsureness(family) for family in families]
            [family] = self._random.choices(families, weights)
            if not self._waiting[family]:
                self._look_ahead()
            if self._waiting[family]:
                return self._waiting[family].popleft()
            del self._waiting[family]
        return None

    def _unsureness(self, family: str) -> float:
        rate = (self._successes[family] + 1) / (self._tries[family] + 2)
        return rate * (1 - rate)

    def _look_ahead(self) -> bool:
        """Whether there was anything left to look at."""
        tasks = list(islice(self._stream, _AHEAD))
        for task in tasks:
            self._waiting[task.family].append(task)
        self._seen = {task.id for task in tasks}
        return bool(tasks)
