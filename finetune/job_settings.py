"""What a job of the API asks for, as settings of a fine-tuning run."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from agentlm.errors import OperatorError, RequestError
from agentlm.finetune.settings import FinetuneSettings
from agentlm.jobs.job import Job, JobRequest
from agentlm.store.selection import condition_words, parse_query


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
    try:
        query = condition_words(parse_query(asked.training.removeprefix("log:")))
    except RequestError as error:
        raise OperatorError(f"{asked.training}: {error}") from error
    owner = {"owner": asked.owner} if asked.owner is not None else {}
    return {"from_logs": True, **query, **owner}
