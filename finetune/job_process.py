"""The process of one fine-tuning job: `python -m agentlm.finetune.job_process DIRECTORY`."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from agentlm.errors import AgentLMError, OperatorError
from agentlm.files import exclusive
from agentlm.finetune.jobs import ENDED, Job, JobError
from agentlm.finetune.main import finetune
from agentlm.finetune.mixture import Plan
from agentlm.finetune.prepare import Prepared
from agentlm.finetune.publish import publish
from agentlm.finetune.run import Run


class Stopped(Exception):
    """The server asked the process to end."""


class JobProgress:
    """Tells a job how its training goes."""

    def __init__(self, job: Job, prepared: Prepared, plan: Plan) -> None:
        self._job = job
        self._steps = plan.steps
        lengths = [source.rows.lengths for source in prepared.sources()]
        self._left = sum(int(lengths[source][row]) for source, row in plan.draws)
        job.update(status="running")
        job.tell("Fine-tuning job started")

    def skip(self, tokens: float) -> None:
        """Tokens that an earlier process trained on."""
        self._left -= int(tokens)

    def report(self, metrics: dict[str, float]) -> None:
        """One step is done."""
        self._left -= int(metrics["tokens"])
        seconds = self._left * metrics["seconds"] / metrics["tokens"]
        step = int(metrics["step"]) + 1
        self._job.tell(
            f"Step {step}/{self._steps}: training loss={metrics['loss']:.4f}",
            step=step,
            total_steps=self._steps,
            train_loss=metrics["loss"],
            learning_rate=metrics["lr"],
        )
        self._job.update(estimated_finish=int(time.time() + seconds))


def main(argv: list[str]) -> int:
    """Work on a job until it has ended or the process is told to stop."""
    job = Job(Path(argv[0]).absolute())
    signal.signal(signal.SIGTERM, _stop)
    with _sole(job) as mine:
        if not mine or job.state.status in ENDED:
            return 0
        try:
            _work(job)
        except Stopped:
            _stopped(job)
        except AgentLMError as error:
            _failed(job, "invalid_training_file", str(error))
        except Exception:
            # Its own words stand in the process's stderr; a client is not shown a traceback.
            _failed(job, "server_error", "the trainer failed; its log says why")
            raise
    return 0


def _work(job: Job) -> None:
    job.update(status="queued")
    with exclusive(job.directory.parent / ".lock"):  # one job at a time
        job.update(status="validating_files")
        settings = job.settings()
        settings.check()
        card = finetune(settings, partial(_watch, job))
    if card is not None:
        _succeeded(job, card.name)


@contextmanager
def _watch(job: Job, prepared: Prepared, plan: Plan) -> Iterator[JobProgress]:
    yield JobProgress(job, prepared, plan)


def _succeeded(job: Job, name: str) -> None:
    metrics = Run(job.data_dir / "runs" / name).metrics()
    job.add_checkpoint(name, metrics[-1])
    job.tell(f"New fine-tuned model created: {name}")
    if url := job.request.publish:
        try:
            publish(url, os.environ.get("AGENTLM_API_KEY"), name)
        except OperatorError as error:
            job.tell(f"the model is not served yet: {error}", level="warn")
    job.update(
        status="succeeded",
        finished_at=int(time.time()),
        fine_tuned_model=name,
        trained_tokens=int(sum(line["trained_tokens"] for line in metrics)),
        result_file=str(job.write_results(metrics)),
        estimated_finish=None,
    )
    job.tell("The job has successfully completed")


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise Stopped


@contextmanager
def _sole(job: Job) -> Iterator[bool]:
    """Whether no other process works on the job; the kernel frees the lock if this one dies."""
    with (job.directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _stopped(job: Job) -> None:
    """Cancelled or paused if that was asked for; else the job goes on when a server comes up."""
    if job.asked_to("cancel"):
        job.update(status="cancelled", finished_at=int(time.time()), estimated_finish=None)
        job.tell("The job has been cancelled")
    elif job.asked_to("pause"):
        job.update(status="paused", estimated_finish=None)
        job.tell("The job has been paused")


def _failed(job: Job, code: str, message: str) -> None:
    error = JobError(code=code, message=message)
    job.update(status="failed", finished_at=int(time.time()), error=error, estimated_finish=None)
    job.tell(message, level="error")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
