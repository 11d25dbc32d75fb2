"""Many tries at once: workers draw from one stream, so that memory does not grow with the tasks.

A try whose world or server breaks is played again, a bounded number of times, and is then an
`error`: it has no reward and counts for nothing. If nothing but errors comes, the rollout stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from openai import OpenAIError

from agentlm.environments.playing.play import STEP_TIMEOUT_S, Play, play
from agentlm.environments.playing.players import Player
from agentlm.environments.playing.progress import Progress, Result
from agentlm.environments.playing.recording import Recorder
from agentlm.environments.task import Environment, Task
from agentlm.errors import AgentLMError, OperatorError
from agentlm.messages import Message
from agentlm.trajectory import Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rollout:
    """How to play: everything but which tasks."""

    environment: Environment
    player: Player
    recorder: Recorder
    progress: Progress
    concurrency: int = 8
    retries: int = 2
    """After a failure of the infrastructure."""
    step_timeout_s: float = STEP_TIMEOUT_S
    demonstration: Sequence[Message] = ()
    """A solved task that precedes each one."""
    on_result: Callable[[Result], None] = lambda _: None

    async def run(self, tasks: Iterable[Task], tries: int = 1) -> None:
        """Play what is not done yet. Raises OperatorError if nothing works any more."""
        left = self._left(tasks, tries)
        failures = _Failures(max(8, self.concurrency))
        workers = [asyncio.create_task(self._work(left, failures)) for _ in range(self.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _left(self, tasks: Iterable[Task], tries: int) -> Iterator[tuple[Task, int]]:
        for task in tasks:
            for attempt in range(tries):
                if not self.progress.has(task.id, attempt):
                    yield task, attempt

    async def _work(self, left: Iterator[tuple[Task, int]], failures: _Failures) -> None:
        for task, attempt in left:
            result = await self._try(task, attempt)
            self.progress.add(result)
            self.on_result(result)
            failures.note(result)

    async def _try(self, task: Task, attempt: int) -> Result:
        """Play until it has a result; a failure of the infrastructure is played again."""
        for again in reversed(range(1 + self.retries)):
            run = await play(
                self.environment,
                task,
                self.player,
                attempt,
                before=self.demonstration,
                step_timeout_s=self.step_timeout_s,
            )
            kept = await self._keep(run)
            if run.broken is None or not again:
                break
            _log.info("task %s, try %d broke", task.id, attempt, exc_info=run.broken)
        return Result.of(run, kept)

    async def _keep(self, run: Play) -> str | None:
        """Record the run; one that can't be recorded has failed, whatever its score."""
        try:
            return await self.recorder.keep(run)
        except (AgentLMError, OpenAIError) as error:
            run.outcome, run.reward, run.broken = Outcome.ERROR, None, run.broken or error
            return None


class _Failures:
    """Counts errors in a row."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._row = 0

    def note(self, result: Result) -> None:
        """Raises OperatorError when there is no use in going on."""
        self._row = self._row + 1 if result.outcome is Outcome.ERROR else 0
        if self._row >= self._limit:
            raise OperatorError(
                f"stopped: {self._row} tries in a row failed, the last with {result.error}"
            )
