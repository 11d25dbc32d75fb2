"""Fine-tuning jobs: OpenAI's `/v1/fine_tuning/jobs`, as files and one process for each job.

The server writes a job's request and starts its process. The process that holds the job's lock
writes the rest. They share only a directory, so a job survives the server. When a server starts, it
starts the processes of unfinished jobs again; they continue from their last checkpoint.

    DATA_DIR/jobs/JOB/request.json      the server, once
                      state.json        the process, replaced as a whole
                      events.jsonl      the process, newest last; OpenAI's event objects
                      checkpoints.jsonl the process; OpenAI's checkpoint objects
                      log               what the process printed
                      cancel, pause     the server, empty; then it sends SIGTERM to state's `pid`
                      .lock             held by the process while it works on the job

    python -m agentlm.finetune.job_process DATA_DIR/jobs/JOB

Jobs of one data directory run one after another. Only one process works on a job; a second one
waits until the first has ended, and continues if there is work left.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from agentlm.files import write_text
from agentlm.messages import Frozen

Status = Literal[
    "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")


class JobRequest(Frozen):
    id: str
    """`ftjob-…`, the directory's name; it sorts by age."""
    created_at: int
    """Unix seconds."""
    owner: str | None
    """The owner whose rows of the log may be used; None: everybody's, for an admin."""
    model: str
    """The base's card, or another name by which the registry finds it."""
    fine_tuned_model: str
    """The name of the resulting model."""
    training: str
    """Path of a file of any format that can be read, or `log:QUERY`."""
    training_file: str = ""
    """The same as the client wrote it: a file's id, or `log:QUERY`."""
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    """Factor on the default. In this and the next two fields, None means `auto`."""
    seed: int = 0
    options: dict[str, Any] = {}
    """Other settings of `agentlm finetune`, by their recipe keys."""
    metadata: dict[str, str] | None = None
    store_url: str | None = None


class JobError(Frozen):
    """Why a job failed, in OpenAI's format."""

    code: str
    message: str
    param: str | None = None


class JobState(Frozen):
    status: Status = "queued"
    pid: int | None = None
    """The process that works on it. After a crash, this process no longer exists."""
    finished_at: int | None = None
    fine_tuned_model: str | None = None
    """Set once the model is registered."""
    trained_tokens: int | None = None
    """Tokens trained on; rows that are drawn again count again."""
    estimated_finish: int | None = None
    result_file: str | None = None
    """Id of a kept file with the columns step, train_loss, learning_rate, tokens."""
    error: JobError | None = None


class Job:
    """One job, by its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def data_dir(self) -> Path:
        return self.directory.parent.parent

    @property
    def request(self) -> JobRequest:
        return JobRequest.model_validate_json((self.directory / "request.json").read_text())

    @property
    def state(self) -> JobState:
        """The state that was written last."""
        path = self.directory / "state.json"
        return JobState.model_validate_json(path.read_text()) if path.exists() else JobState()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return self._lines("events.jsonl")

    @property
    def checkpoints(self) -> list[dict[str, Any]]:
        """The checkpoints that can be used as models, oldest first."""
        return self._lines("checkpoints.jsonl")

    def update(self, **changes: object) -> None:
        """Change fields of the state and write it."""
        state = self.state.model_copy(update={"pid": os.getpid(), **changes})
        write_text(self.directory / "state.json", state.model_dump_json(indent=2))

    def fail(self, code: str, message: str, param: str | None = None) -> None:
        """End the job with an error."""
        error = JobError(code=code, message=message, param=param)
        now = int(time.time())
        self.update(status="failed", finished_at=now, error=error, estimated_finish=None)
        self.tell(message, level="error")

    @property
    def lock(self) -> Path:
        """The lock of the one process that may work on the job."""
        return self.directory / ".lock"

    def obey(self) -> bool:
        """Cancel or pause the job if the server has asked for that. Returns whether work has to
        stop.

        Only the holder of the lock may call this.
        """
        if self.state.status in ENDED:
            return True
        if (self.directory / "cancel").exists():
            self.update(status="cancelled", finished_at=int(time.time()), estimated_finish=None)
            self.tell("The job has been cancelled")
        elif (self.directory / "pause").exists():
            self.update(status="paused", estimated_finish=None)
            self.tell("The job has been paused")
        else:
            return False
        return True

    def tell(
        self, message: str, *, level: Literal["info", "warn", "error"] = "info", **data: object
    ) -> None:
        """Add an event. With data, its type is `metrics`."""
        event = {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{uuid.uuid4().hex}",
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "type": "metrics" if data else "message",
            "data": data,
        }
        self._append("events.jsonl", event)

    def add_checkpoint(self, name: str, metrics: dict[str, float]) -> None:
        """Add a checkpoint that can be used as a model."""
        checkpoint = {
            "object": "fine_tuning.job.checkpoint",
            "id": f"ftckpt_{uuid.uuid4().hex}",
            "created_at": int(time.time()),
            "fine_tuning_job_id": self.directory.name,
            "fine_tuned_model_checkpoint": name,
            "step_number": int(metrics["step"]) + 1,
            "metrics": {"step": metrics["step"] + 1, "train_loss": metrics["loss"]},
        }
        self._append("checkpoints.jsonl", checkpoint)

    def results(self, metrics: list[dict[str, float]]) -> str:
        """The content of the result file."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["step", "train_loss", "learning_rate", "tokens"])
        for line in metrics:
            values = [line["loss"], line["lr"], int(line["tokens"])]
            writer.writerow([int(line["step"]) + 1, *values])
        return text.getvalue()

    def _append(self, name: str, value: object) -> None:
        with (self.directory / name).open("a") as file:
            file.write(json.dumps(value) + "\n")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        """Complete lines only: the last one may be half written, or cut off by a crash."""
        path = self.directory / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def all_jobs(data_dir: Path) -> list[Job]:
    """All jobs of a data directory, oldest first."""
    paths = (data_dir / "jobs").glob("ftjob-*/request.json")
    return [Job(path.parent) for path in sorted(paths)]


def unfinished(data_dir: Path) -> Iterator[Job]:
    """Jobs whose processes have to be started when a server starts, oldest first."""
    for job in all_jobs(data_dir):
        if job.state.status not in (*ENDED, "paused"):
            yield job
