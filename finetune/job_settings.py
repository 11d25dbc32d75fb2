"""What a job of the API asks for, as settings of a fine-tuning run."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from agentlm.errors import OperatorError
from agentlm.finetune.settings import FinetuneSettings, Selecting
from agentlm.jobs.job import Job, JobRequest


def settings_of(job: Job) -> FinetuneSettings:
    """What the job's request means. Raises OperatorError for what can't be meant."""
    asked = job.request
    chosen: dict[str, Any] = {
        "data_dir": job.data_dir,
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
