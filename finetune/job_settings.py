"""A job of the API as settings of a fine-tuning run."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from agentlm.errors import OperatorError, RequestError
from agentlm.finetune.settings import FinetuneSettings
from agentlm.jobs.job import Job, JobRequest
from agentlm.store.selection import condition_words, parse_query


def settings_of(job: Job) -> FinetuneSettings:
    """The settings for the job's request. Raises OperatorError for impossible ones."""
    request = job.request
    chosen: dict[str, Any] = {
        "data_dir": job.data_dir,
        "store_url": request.store_url,
        "base": request.model,
        "name": request.fine_tuned_model,
        "seed": request.seed,
        **request.options,
    }
    chosen |= {"epochs": float(request.n_epochs)} if request.n_epochs else {}
    chosen |= {"batch_size": request.batch_size} if request.batch_size else {}
    chosen |= _training(request)
    try:
        settings = FinetuneSettings(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise OperatorError(f"{field}: {first['msg'].lower()}") from error
    scale = request.learning_rate_multiplier
    return settings.model_copy(update={"lr": settings.peak_lr * scale} if scale else {})


def _training(request: JobRequest) -> dict[str, Any]:
    if not request.training.startswith("log:"):
        return {"data": (request.training,)}
    try:
        query = condition_words(parse_query(request.training.removeprefix("log:")))
    except RequestError as error:
        raise OperatorError(f"{request.training}: {error}") from error
    owner = {"owner": request.owner} if request.owner is not None else {}
    return {"from_logs": True, **query, **owner}
