"""The process of one fine-tuning job: `python -m agentlm.finetune.job_process DIRECTORY`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from agentlm.errors import AgentLMError
from agentlm.files import exclusive
from agentlm.finetune.data.mixture import Plan
from agentlm.finetune.data.prepare import Prepared
from agentlm.finetune.filters.drops import example_lines
from agentlm.finetune.job_settings import settings_of
from agentlm.finetune.main import finetune
from agentlm.finetune.run import Run
from agentlm.finetune.training.allocator import restart_with_tcmalloc
from agentlm.finetune.training.leave import leave
from agentlm.jobs.job import Job
from agentlm.jobs.kept_files import KeptFile, KeptFiles
from agentlm.models.registry import Registry

_NICE = 10


class Stopped(Exception):
    """The server asked the process to end."""


class JobProgress:
    """Reports a job's training progress."""

    def __init__(self, job: Job, prepared: Prepared, plan: Plan) -> None:
        self._job = job
        self._steps = plan.steps
        lengths = [source.rows.lengths for source in prepared.sources()]
        self._left = sum(int(lengths[source][row]) for source, row in plan.draws)
        job.update(status="running")
        job.tell("Fine-tuning job started")
        for name, drops in prepared.run.read("selection.json").items():
            job.tell(f"{name}: {drops['summary']}", level="warn" if drops["dropped"] else "info")
            for line in example_lines(drops):
                job.tell(line, level="warn")

    def skip(self, tokens: float) -> None:
        """Count tokens that an earlier process trained on."""
        self._left -= int(tokens)

    def report(self, metrics: dict[str, float]) -> None:
        self._left -= int(metrics["tokens"])
        seconds = self._left * metrics["seconds"] / metrics["tokens"]
        step = int(metrics["step"]) + 1
        numbers = {"train_loss": metrics["loss"], "learning_rate": metrics["lr"]}
        if "held_out_loss" in metrics:
            numbers["valid_loss"] = metrics["held_out_loss"]
        self._job.tell(
            f"Step {step}/{self._steps}: training loss={metrics['loss']:.4f}",
            level="info",
            step=step,
            total_steps=self._steps,
            **numbers,
        )
        self._job.update(estimated_finish=int(time.time() + seconds))


def main(argv: list[str]) -> int:
    """Work on a job until it has ended or the process is told to stop."""
    restart_with_tcmalloc(argv)
    job = Job(Path(argv[0]).absolute())
    signal.signal(signal.SIGTERM, _stop)
    # A server that answers people on the same machine has priority.
    os.nice(_NICE)
    try:
        with exclusive(job.lock):
            _see_through(job)
    except Stopped:
        pass  # another process has the job
    return 0


def _see_through(job: Job) -> None:
    try:
        job.update()  # from now on the server knows which process to signal
        if not job.obey():
            _work(job)
    except Stopped:
        job.obey()
    except AgentLMError as error:
        begun = job.state.status == "running"  # so the file was fine
        job.fail("server_error" if begun else "invalid_training_file", str(error))
    except Exception:
        # The traceback is in the process's stderr; clients must not see it.
        job.fail("server_error", "the trainer failed; its log says why")
        raise


def _work(job: Job) -> None:
    job.update(status="queued")
    with exclusive(job.directory.parent / ".lock"):  # one job at a time
        name = job.request.fine_tuned_model
        if name not in {card.name for card in Registry(job.data_dir).list()}:
            job.update(status="validating_files")
            settings = settings_of(job)
            settings.check()
            finetune(settings, partial(_watch, job))
    _succeeded(job, name)


@contextmanager
def _watch(job: Job, prepared: Prepared, plan: Plan) -> Iterator[JobProgress]:
    yield JobProgress(job, prepared, plan)


def _succeeded(job: Job, name: str) -> None:
    metrics = Run(job.data_dir / "runs" / name).metrics()
    if not job.checkpoints:
        job.add_checkpoint(name, metrics[-1])
        job.tell(f"New fine-tuned model created: {name}")
    job.update(
        status="succeeded",
        finished_at=int(time.time()),
        fine_tuned_model=name,
        trained_tokens=int(sum(line["trained_tokens"] for line in metrics)),
        result_file=_keep_results(job, metrics).id,
        estimated_finish=None,
    )
    job.tell("The job has successfully completed")


def _keep_results(job: Job, metrics: list[dict[str, float]]) -> KeptFile:
    text = job.results(metrics)
    files = KeptFiles(job.data_dir)
    with files.arriving() as content:
        content.write_text(text)
        file = KeptFile(
            id=job.directory.name.replace("ftjob-", "file-"),  # the same if it is done again
            owner=job.request.owner,
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            bytes=content.stat().st_size,
        )
        return files.keep(content, file)


def _stop(_signal: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one signal is enough
    raise Stopped


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
