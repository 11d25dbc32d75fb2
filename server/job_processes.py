"""The processes of fine-tuning jobs: start them, wait for them, stop them.

A job is a directory, see `agentlm.jobs.job`. One process runs for each unfinished job, and a task
waits for its end. This also works for a job that an earlier server began: the new server waits for
its process. The trainer is not imported here.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from re import fullmatch
from typing import Any, Literal

from agentlm.errors import AgentLMError, NotFoundError, OperatorError, RequestError
from agentlm.files import exclusive
from agentlm.jobs.job import ENDED, Job, JobState, all_jobs, unfinished

_STARTS = 3
"""How often a dying process is started. A kill won't happen again, but lack of memory will."""
_STOP_S = 10.0
"""Time for a process to end by itself. If it is killed, the job loses only its last steps."""


class Jobs:
    """The jobs of a data directory. `serve` gets the name of each new model."""

    def __init__(self, data_dir: Path, serve: Callable[[str], Awaitable[object]]) -> None:
        self._data_dir = data_dir
        self._serve = serve
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, Process] = {}
        self._closing = False
        self._recipe_schema: dict[str, Any] | None = None

    def list(self) -> list[Job]:
        """Oldest first."""
        return all_jobs(self._data_dir)

    def get(self, job_id: str) -> Job:
        """Raises NotFoundError."""
        job = Job(self._data_dir / "jobs" / job_id)
        if not fullmatch(r"ftjob-[0-9a-f]+", job_id) or not job.directory.is_dir():
            raise NotFoundError(f"there is no fine-tuning job {job_id!r}", param="job_id")
        return job

    def state(self, job: Job) -> JobState:
        """The job's state. It counts as succeeded only once its model is served."""
        state = job.state
        if state.status == "succeeded" and job.directory.name in self._tasks:
            unseen = {"status": "running", "finished_at": None, "fine_tuned_model": None}
            return state.model_copy(update=unseen)
        return state

    def start_unfinished(self) -> None:
        """Continue the jobs of an earlier server."""
        for job in unfinished(self._data_dir):
            self.start(job)

    def start(self, job: Job) -> None:
        """Work on a job until it has ended, in a separate process."""
        name = job.directory.name
        if name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(self._see_through(job))
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def recipe_schema(self) -> dict[str, Any]:
        """The JSON schema of a job's `recipe`, from the installed trainer."""
        if self._recipe_schema is None:
            self._recipe_schema = await _ask_trainer("")
        return self._recipe_schema

    async def check_recipe(self, recipe: dict[str, Any]) -> None:
        """Raises RequestError for an impossible `recipe`."""
        if complaint := await _ask_trainer(json.dumps(recipe)):
            field = ".".join(filter(None, ("recipe", complaint["field"])))
            raise RequestError(f"{field}: {complaint['message']}", param=field)

    async def stop(self, job: Job, what: Literal["cancel", "pause"]) -> None:
        """Cancel or pause a job. Raises RequestError if it has ended."""
        status = self.state(job).status
        if status in ENDED or (status, what) == ("paused", "pause"):
            raise RequestError(f"the job {job.directory.name} is {status} already", param="job_id")
        (job.directory / what).touch()
        try:
            with exclusive(job.lock, wait=False):
                job.obey()
        except BlockingIOError:
            _terminate(job)  # its process then does the rest
        await self._end_process(job)

    async def _end_process(self, job: Job) -> None:
        """Wait for the job's process, which has nothing left to do. If it is just starting, stop
        it."""
        name = job.directory.name
        if (process := self._processes.get(name)) and job.state.pid != process.pid:
            with suppress(ProcessLookupError):
                process.terminate()
        if task := self._tasks.get(name):
            await asyncio.wait([task], timeout=_STOP_S)

    async def resume(self, job: Job) -> None:
        """Continue a paused job. Raises RequestError if it is not paused."""
        status = self.state(job).status
        if status != "paused":
            raise RequestError(f"the job {job.directory.name} is {status}", param="job_id")
        with exclusive(job.lock):  # its process has ended, or is about to
            (job.directory / "pause").unlink(missing_ok=True)
            job.update(status="queued")
        self.start(job)

    async def close(self) -> None:
        """Stop all processes. The next server continues from the last checkpoints.

        Whoever stops a server wants the machine back. Jobs survive only if the server is killed;
        the next one then waits for them.
        """
        self._closing = True
        for name, process in list(self._processes.items()):
            _terminate(Job(self._data_dir / "jobs" / name))
            with suppress(ProcessLookupError):
                process.terminate()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=_STOP_S)
        for process in list(self._processes.values()):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _see_through(self, job: Job) -> None:
        for _ in range(_STARTS):
            await self._run(job)
            if self._closing:
                return
            if job.state.status in (*ENDED, "paused"):
                break
        else:
            job.fail("server_error", f"the trainer died {_STARTS} times; its log may say why")
        name = job.state.fine_tuned_model
        if name is not None:
            try:
                await self._serve(name)
            except AgentLMError as error:
                job.tell(f"the model is not served here: {error}", level="warn")

    async def _run(self, job: Job) -> None:
        """Start a process and wait until it has ended."""
        with (job.directory / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agentlm.finetune.job_process", str(job.directory)),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the server, which then stops the process
            )
        name = job.directory.name
        self._processes[name] = process
        try:
            await process.wait()
        finally:
            del self._processes[name]


async def _ask_trainer(recipe: str) -> dict[str, Any]:
    """The trainer's answer about a recipe, or the recipe's schema if it is empty."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentlm.finetune.job_recipe"),
        stdin=PIPE,
        stdout=PIPE,
        env=_environment(),
    )
    answer, _ = await process.communicate(recipe.encode())
    if process.returncode != 0:
        raise OperatorError("the trainer does not say what a recipe can hold; the server's log may")
    reply: dict[str, Any] = json.loads(answer)
    return reply


def _environment() -> dict[str, str]:
    """Environment variables of the server's settings concern the server only; they are removed."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AGENTLM_")}


def _terminate(job: Job) -> None:
    """Send SIGTERM to the process that works on a job, even if another server started it."""
    pid = job.state.pid
    with _process(pid) as descriptor:
        if descriptor is not None and _works_on(job, pid):
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)


@contextmanager
def _process(pid: int | None) -> Iterator[int | None]:
    """A handle on a process, so that its number can't come to mean another one."""
    try:
        descriptor = None if pid is None else os.pidfd_open(pid)
    except ProcessLookupError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _works_on(job: Job, pid: int | None) -> bool:
    """Whether the process is the job's: after a crash its number may belong to another."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return str(job.directory).encode() in words
    return False
