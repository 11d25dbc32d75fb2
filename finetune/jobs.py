"""Fine-tuning jobs: what OpenAI's `/v1/fine_tuning/jobs` promises, as files and one process a job.

The server writes a job's request and starts its process; the process writes everything else. They
share nothing but a directory, so a job survives the server, and a server that comes up again
starts the processes of unfinished jobs once more: they go on from their last checkpoint.

    DATA_DIR/jobs/JOB/request.json      the server, once
                      state.json        the process, whole or not at all
                      events.jsonl      the process, newest last; OpenAI's event objects
                      checkpoints.jsonl the process; OpenAI's checkpoint objects
                      results.csv       the process: step, train_loss, learning_rate, tokens
                      cancel, pause     the server, empty; then it sends SIGTERM to state's `pid`

    python -m agentlm.finetune.job_process DATA_DIR/jobs/JOB

Jobs of one data directory run one after another. Only one process works on a job: starting
another does no harm.
"""

from __future__ import annotations

import csv
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import ValidationError

from agentlm.errors import OperatorError
from agentlm.files import write_text
from agentlm.finetune.settings import FinetuneSettings, Selecting
from agentlm.messages import Frozen

Status = Literal[
    "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")


class JobRequest(Frozen):
    """What is asked for."""

    id: str
    """`ftjob-…`, the directory's name."""
    created_at: int
    """Unix seconds."""
    owner: str | None
    """Whose rows of the log may be used; None: everybody's, for an admin."""
    model: str
    """The base's card."""
    fine_tuned_model: str
    """The name that the result gets."""
    training: str
    """Path of a file of any format that can be read, or `log:QUERY`."""
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    """Of the default; None in these three: `auto`."""
    seed: int = 0
    options: dict[str, Any] = {}
    """Other settings of `agentlm finetune`, by their keys in a recipe."""
    store_url: str | None = None
    publish: str | None = None
    """URL of the server that is to serve the result; its key is in AGENTLM_API_KEY."""


class JobError(Frozen):
    """Why a job failed, as OpenAI says it."""

    code: str
    message: str
    param: str | None = None


class JobState(Frozen):
    """How far a job is."""

    status: Status = "queued"
    pid: int | None = None
    """The process that works on it; after a crash, of one that is no more."""
    finished_at: int | None = None
    fine_tuned_model: str | None = None
    """Set when it is registered."""
    trained_tokens: int | None = None
    """Tokens that were trained on, rows drawn again counted again."""
    estimated_finish: int | None = None
    result_file: str | None = None
    """Path of results.csv."""
    error: JobError | None = None


class Job:
    """One job by its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def data_dir(self) -> Path:
        """The data directory that the job belongs to."""
        return self.directory.parent.parent

    @property
    def request(self) -> JobRequest:
        """As the server wrote it."""
        return JobRequest.model_validate_json((self.directory / "request.json").read_text())

    @property
    def state(self) -> JobState:
        """As it was last written."""
        path = self.directory / "state.json"
        return JobState.model_validate_json(path.read_text()) if path.exists() else JobState()

    def update(self, **changes: object) -> None:
        """Write the state with changes."""
        state = self.state.model_copy(update={"pid": os.getpid(), **changes})
        write_text(self.directory / "state.json", state.model_dump_json(indent=2))

    def asked_to(self, what: Literal["cancel", "pause"]) -> bool:
        """Whether the server has asked for it."""
        return (self.directory / what).exists()

    def tell(
        self, message: str, *, level: Literal["info", "warn", "error"] = "info", **data: object
    ) -> None:
        """Add an event; with data it is one of metrics."""
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
        """Add a checkpoint that can be asked for as a model."""
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

    def write_results(self, metrics: list[dict[str, float]]) -> Path:
        """Write results.csv."""
        path = self.directory / "results.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "train_loss", "learning_rate", "tokens"])
            for line in metrics:
                values = [line["loss"], line["lr"], int(line["tokens"])]
                writer.writerow([int(line["step"]) + 1, *values])
        return path

    def settings(self) -> FinetuneSettings:
        """What the request means. Raises OperatorError for what can't be meant."""
        asked = self.request
        chosen: dict[str, Any] = {
            "data_dir": self.data_dir,
            "store_url": asked.store_url,
            "base": asked.model,
            "name": asked.fine_tuned_model,
            "seed": asked.seed,
            **asked.options,
        }
        chosen |= {"epochs": float(asked.n_epochs)} if asked.n_epochs else {}
        chosen |= {"batch_size": asked.batch_size} if asked.batch_size else {}
        chosen |= _training(asked)
        try:
            settings = FinetuneSettings(**chosen)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise OperatorError(f"{field}: {first['msg'].lower()}") from error
        scale = asked.learning_rate_multiplier
        return settings.model_copy(update={"lr": settings.peak_lr * scale} if scale else {})

    def _append(self, name: str, value: object) -> None:
        with (self.directory / name).open("a") as file:
            file.write(json.dumps(value) + "\n")


def unfinished(data_dir: Path) -> Iterator[Job]:
    """Jobs whose processes are to be started when a server comes up, oldest first."""
    jobs = [Job(path.parent) for path in (data_dir / "jobs").glob("*/request.json")]
    for job in sorted(jobs, key=lambda job: job.request.created_at):
        if job.state.status not in (*ENDED, "paused"):
            yield job


def _training(asked: JobRequest) -> dict[str, Any]:
    if not asked.training.startswith("log:"):
        return {"data": (asked.training,)}
    query = parse_query(asked.training.removeprefix("log:"))
    owner = {"owner": asked.owner} if asked.owner is not None else {}
    return {"from_logs": True, **query, **owner}


def parse_query(query: str) -> dict[str, Any]:
    """A selection of the log: `environment=db&min_reward=0.5&tags.project=x`, or nothing for all.

    Raises OperatorError for a word that selects nothing.
    """
    known = Selecting.model_fields.keys() - Selecting.__base__.model_fields.keys()  # type: ignore[union-attr]
    found: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key.startswith("tags."):
            found.setdefault("tags", {})[key.removeprefix("tags.")] = value
        elif key == "outcomes":
            found[key] = tuple(value.split(","))
        elif key in known:
            found[key] = value
        else:
            words = ", ".join(sorted(known))
            raise OperatorError(f"log:{query}: unknown {key!r}; known: {words}, tags.NAME")
    return found
