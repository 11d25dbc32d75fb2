"""Many tries at once: workers draw from one stream, so that memory does not grow with the tasks.

A try whose world or server breaks is played again, a bounded number of times, and is then an
`error`: it has no reward and counts for nothing. If nothing but errors comes, the rollout stops.

A result is written down before its score is told to the log: whoever goes on after a kill tells
the scores that are pending, and plays what has no result.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import openai
from openai import OpenAIError

from agentlm.environments.playing.play import STEP_TIMEOUT_S, Play, play
from agentlm.environments.playing.players import Player
from agentlm.environments.playing.progress import Kept, Progress, Result, error_text
from agentlm.environments.playing.recording import Recorder
from agentlm.environments.task import Environment, Task
from agentlm.errors import AgentLMError, ConflictError, NotFoundError, OperatorError
from agentlm.messages import Message
from agentlm.trajectory import Outcome

_log = logging.getLogger(__name__)

_REFUSALS = (NotFoundError, ConflictError, openai.NotFoundError, openai.ConflictError)
"""The log lacks the trajectory, or has it as one that broke: its score will never be taken."""


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
            if result.pending is not None:
                await asyncio.to_thread(self.progress.sync)
                result = await self._tell(result)
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
            result = await self._kept(run)
            if run.broken is None or not again:
                break
            _log.info("task %s, try %d broke", task.id, attempt, exc_info=run.broken)
        return result

    async def _kept(self, run: Play) -> Result:
        """Record the run; one that can't be recorded has failed, whatever its score."""
        try:
            kept = await self.recorder.keep(run)
        except (AgentLMError, OpenAIError) as error:
            run.outcome, run.reward, run.broken = Outcome.ERROR, None, run.broken or error
            kept = Kept()
        result = Result.of(run, kept)
        if run.broken is not None and result.pending is not None:
            with suppress(AgentLMError, OpenAIError):  # it has no score that could be lost
                await self.recorder.score(result)
            result = result.model_copy(update={"pending": None})
        return result

    async def _tell(self, pending: Result) -> Result:
        """Tell its score, for which a server may have to be asked several times."""
        for again in reversed(range(1 + self.retries)):
            result = await tell_score(self.recorder, pending)
            if result.pending is None or not again:
                break
        return result


async def tell_score(recorder: Recorder, result: Result) -> Result:
    """The result, no more pending if its score was taken. If that was refused, an `error`: the try
    has to be played again."""
    try:
        await recorder.score(result)
    except _REFUSALS as error:
        refused = {"outcome": Outcome.ERROR, "reward": None, "pending": None}
        return result.model_copy(update={**refused, "error": error_text(error)})
    except (AgentLMError, OpenAIError) as error:
        return result.model_copy(update={"error": error_text(error)})
    return result.model_copy(update={"pending": None, "error": None})


async def tell_pending(recorder: Recorder, progress: Progress) -> None:
    """Tell the scores that a rollout has not told before it was killed."""
    for result in progress.pending():
        progress.add(await tell_score(recorder, result))


class _Failures:
    """Counts errors in a row."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._row = 0

    def note(self, result: Result) -> None:
        """Raises OperatorError when there is no use in going on."""
        self._row = self._row + 1 if result.unfinished else 0
        if self._row >= self._limit:
            raise OperatorError(
                f"stopped: {self._row} tries in a row failed, the last with {result.error}"
            )
