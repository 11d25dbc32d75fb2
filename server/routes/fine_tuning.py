"""`/v1/fine_tuning/jobs`: train a successor of a served model, supervised, as a LoRA adapter.

Only for administrators: a job takes the machine's time and adds a model that every key may use.
"""

from __future__ import annotations

import asyncio
import re
import time
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from pydantic import BaseModel, ConfigDict, Field

from agentlm.errors import NotFoundError, RequestError
from agentlm.files import new_id, write_text
from agentlm.install import install
from agentlm.jobs.job import Job, JobRequest
from agentlm.jobs.training_run import TrainingRun, read_training_run
from agentlm.models.cards import ModelCard
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers, answers_list, reads
from agentlm.server.http.pages import page_of
from agentlm.server.openai.wire import Metadata
from agentlm.server.routes.stored import metadata_filter
from agentlm.server.state import Admin, ServerState, State
from agentlm.store.selection import parse_conditions, parse_query

router = APIRouter(prefix="/v1/fine_tuning/jobs")
recipes = APIRouter(prefix="/v1/fine_tuning/recipe")

Limit = Annotated[int, Query(ge=1, le=1000)]


class Hyperparameters(BaseModel):
    """The settings that OpenAI offers for a supervised run."""

    model_config = ConfigDict(extra="forbid")
    n_epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0, le=100)] = "auto"

    def chosen(self) -> dict[str, Any]:
        """The settings that are not left at their defaults."""
        return {name: value for name, value in self if value != "auto"}


class Supervised(BaseModel):
    """Train on what the assistant says in the file."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(BaseModel):
    """How to train."""

    type: Literal["supervised"]
    supervised: Supervised = Supervised()


class CreateJobRequest(BaseModel):
    """The body of `POST /v1/fine_tuning/jobs`."""

    model_config = ConfigDict(extra="forbid")

    model: str
    training_file: str
    """A file's id, or `log:QUERY`."""
    validation_file: str | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    method: Method | None = None
    suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    metadata: Metadata | None = None
    integrations: list[Any] | None = None
    recipe: dict[str, Any] = {}
    """Not in OpenAI's API: settings of `agentlm finetune`. `GET /v1/fine_tuning/recipe` describes
    them."""

    def chosen(self) -> dict[str, Any]:
        """The hyperparameters, wherever the request has them."""
        method = self.method.supervised.hyperparameters if self.method else self.hyperparameters
        return method.chosen()


@router.post("", openapi_extra=reads(CreateJobRequest), responses=answers(FineTuningJob))
async def create_job(request: Request, state: State, admin: Admin) -> dict[str, Any]:
    """Begin a job. Its model is served as soon as it has succeeded."""
    if find_spec("deepspeed") is None:
        raise RequestError(f"this server has no trainer: {install('train')}")
    body = await read_model(CreateJobRequest, request, 64 * 1024)
    for name in ("validation_file", "integrations"):
        if getattr(body, name):
            raise RequestError(f"{name} is not supported", param=name)
    await _check_recipe(body, state)
    job = await asyncio.to_thread(_write, body, state)
    state.jobs.start(job)
    return job_object(job, state)


@router.get("", responses=answers_list(FineTuningJob))
async def list_jobs(
    request: Request,
    state: State,
    _admin: Admin,
    after: str | None = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """Jobs, newest first. `metadata[name]=value` filters them."""
    wanted = metadata_filter(request).items()

    def job_objects() -> list[dict[str, Any]]:
        jobs = (job_object(job, state) for job in reversed(state.jobs.list()))
        return [job for job in jobs if wanted <= (job["metadata"] or {}).items()]

    return page_of(await asyncio.to_thread(job_objects), after=after, limit=limit)


@router.get("/{job_id}", responses=answers(FineTuningJob))
async def get_job(job_id: str, state: State, _admin: Admin) -> dict[str, Any]:
    """One job."""
    return job_object(state.jobs.get(job_id), state)


@router.post("/{job_id}/cancel", responses=answers(FineTuningJob))
async def cancel_job(job_id: str, state: State, _admin: Admin) -> dict[str, Any]:
    """Cancel a job for good."""
    job = state.jobs.get(job_id)
    await state.jobs.stop(job, "cancel")
    return job_object(job, state)


@router.post("/{job_id}/pause", responses=answers(FineTuningJob))
async def pause_job(job_id: str, state: State, _admin: Admin) -> dict[str, Any]:
    """Stop a job. It continues from its last checkpoint when it is resumed."""
    job = state.jobs.get(job_id)
    await state.jobs.stop(job, "pause")
    return job_object(job, state)


@router.post("/{job_id}/resume", responses=answers(FineTuningJob))
async def resume_job(job_id: str, state: State, _admin: Admin) -> dict[str, Any]:
    """Continue a paused job."""
    job = state.jobs.get(job_id)
    await state.jobs.resume(job)
    return job_object(job, state)


@router.get("/{job_id}/events", responses=answers_list(FineTuningJobEvent))
async def list_events(
    job_id: str, state: State, _admin: Admin, after: str | None = None, limit: Limit = 20
) -> dict[str, Any]:
    """A job's events, newest first."""
    job = state.jobs.get(job_id)
    events = await asyncio.to_thread(lambda: job.events[::-1])
    return page_of(events, after=after, limit=limit)


@router.get("/{job_id}/run", responses=answers(TrainingRun))
async def get_run(job_id: str, state: State, _admin: Admin) -> dict[str, Any]:
    """The state of its training: losses by step, what was left out and why, rows with their
    mask."""
    name = state.jobs.get(job_id).request.fine_tuned_model
    directory = state.settings.data_dir / "runs" / name
    run = await asyncio.to_thread(read_training_run, directory)
    return {"object": "fine_tuning.job.run", **run.model_dump(mode="json")}


@router.get("/{job_id}/checkpoints", responses=answers_list(FineTuningJobCheckpoint))
async def list_checkpoints(
    job_id: str, state: State, _admin: Admin, after: str | None = None, limit: Limit = 10
) -> dict[str, Any]:
    """The checkpoints that can be used as models, which is only the final one."""
    return page_of(state.jobs.get(job_id).checkpoints[::-1], after=after, limit=limit)


@recipes.get("")
async def get_recipe(state: State, _admin: Admin) -> dict[str, Any]:
    """The JSON schema of a job's `recipe`: each setting with its default, limits and
    description."""
    return await state.jobs.recipe_schema()


def job_object(job: Job, state: ServerState) -> dict[str, Any]:
    """A job in OpenAI's format."""
    request, now = job.request, state.jobs.state(job)
    numbers = {name: getattr(request, name) or "auto" for name in Hyperparameters.model_fields}
    return {
        "id": request.id,
        "object": "fine_tuning.job",
        "created_at": request.created_at,
        "model": request.model,
        "organization_id": "agentlm",
        "training_file": request.training_file,
        "validation_file": None,
        "seed": request.seed,
        "metadata": request.metadata,
        "integrations": [],
        "hyperparameters": numbers,
        "recipe": request.options,
        "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
        "status": now.status,
        "finished_at": now.finished_at,
        "estimated_finish": now.estimated_finish,
        "fine_tuned_model": now.fine_tuned_model,
        "trained_tokens": now.trained_tokens,
        "result_files": [now.result_file] if now.result_file else [],
        "error": now.error.model_dump() if now.error else None,
    }


_SAID_ELSEWHERE = {"epochs": "n_epochs", "batch_size": "batch_size"}
"""Recipe settings that OpenAI has as hyperparameters."""


async def _check_recipe(body: CreateJobRequest, state: ServerState) -> None:
    chosen = body.chosen()
    for name, elsewhere in _SAID_ELSEWHERE.items():
        if name in body.recipe and elsewhere in chosen:
            raise RequestError(f"recipe.{name} is also set by {elsewhere}", param=f"recipe.{name}")
    if body.recipe:
        await state.jobs.check_recipe(body.recipe)


def _write(body: CreateJobRequest, state: ServerState) -> Job:
    """Write a request to where its process will find it."""
    identity = new_id()
    base = _base(body.model, state)
    request = JobRequest(
        id=f"ftjob-{identity}",
        created_at=int(time.time()),
        owner=None,
        model=base,
        fine_tuned_model=_name(base, body.suffix, identity[-8:]),
        training=_training(body.training_file, state),
        training_file=body.training_file,
        seed=body.seed or 0,
        metadata=body.metadata,
        store_url=state.settings.store_url,
        options=body.recipe,
        **body.chosen(),
    )
    job = Job(state.settings.data_dir / "jobs" / request.id)
    write_text(job.directory / "request.json", request.model_dump_json(indent=2))
    return job


def _base(name: str, state: ServerState) -> str:
    """The base's name for the registry. Raises NotFoundError if the base is unknown."""
    cards = {card.name: card for card in state.registry.list()}
    named = cards.get(state.registry.aliases.list().get(name, name))
    card: ModelCard = named or state.models.find(name)[0].card
    if card.source == "upstream":
        raise RequestError(f"the weights of {name} are not here", param="model")
    if card.name in cards:
        return card.name
    if card.adapter is not None:
        raise RequestError(f"{name} is an adapter that is not registered", param="model")
    return card.location


def _training(training_file: str, state: ServerState) -> str:
    """Where the rows are. Raises RequestError for an unknown file or one for another purpose."""
    if training_file.startswith("log:"):
        try:
            parse_conditions(parse_query(training_file.removeprefix("log:")))
        except RequestError as error:
            raise RequestError(f"{training_file}: {error}", param="training_file") from error
        return training_file
    try:
        file = state.files.get(training_file, None)
    except NotFoundError as error:
        raise RequestError(str(error), param="training_file") from error
    if file.purpose != "fine-tune":
        message = f"{training_file} was uploaded for {file.purpose}, not for fine-tune"
        raise RequestError(message, param="training_file")
    return str(state.files.content(file))


def _name(base: str, suffix: str | None, identity: str) -> str:
    """`ft:base::suffix:id`. For a fine-tuned base, `base` is the model that it was made from."""
    root = base.removeprefix("ft:").split(":")[0].rstrip("/").rsplit("/", 1)[-1]
    word = re.sub(r"[^A-Za-z0-9._-]+|^[^A-Za-z0-9]+", "-", root)[:96].strip("-") or "model"
    return f"ft:{word}::{suffix or ''}:{identity}"
