"""`/v1/evaluations`: results of `agentlm eval` and the gate, from the data directory.

Only for administrators: the runs name tasks and trajectories of whoever measured.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from agentlm.jobs.evaluations import EvaluatedRun, Evaluation
from agentlm.server.http.openapi import answers, answers_list
from agentlm.server.http.pages import page_of
from agentlm.server.state import Admin, State

router = APIRouter(prefix="/v1/evaluations")

Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("", responses=answers_list(Evaluation))
async def list_evaluations(
    state: State,
    _admin: Admin,
    model: str | None = None,
    after: str | None = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """Evaluations, newest first. With `model`, only those with a row for it."""
    evaluations = await asyncio.to_thread(state.evaluations.list)
    wanted = [one for one in evaluations if model is None or model in _models(one)]
    return page_of([_object(one) for one in wanted], after=after, limit=limit)


@router.get("/{evaluation_id}", responses=answers(Evaluation))
async def get_evaluation(evaluation_id: str, state: State, _admin: Admin) -> dict[str, Any]:
    """One evaluation: success with intervals, error classes, base and candidate."""
    return _object(await asyncio.to_thread(state.evaluations.get, evaluation_id))


@router.get("/{evaluation_id}/runs", responses=answers_list(EvaluatedRun))
async def list_runs(
    evaluation_id: str,
    state: State,
    _admin: Admin,
    environment: str | None = None,
    model: str | None = None,
    decoding: str | None = None,
    task_id: str | None = None,
    group: str | None = None,
    failed: bool | None = None,
    after: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """The tries of an evaluation: with `task_id` those of one task, with `group` failed ones."""
    conditions = {
        "environment": environment,
        "model": model,
        "decoding": decoding,
        "task_id": task_id,
        "group": group,
    }
    same = {name: value for name, value in conditions.items() if value is not None}

    def matching() -> list[dict[str, Any]]:
        return [
            run.model_dump(mode="json")
            for run in state.evaluations.runs(evaluation_id)
            if failed in (None, run.group is not None)
            and all(getattr(run, name) == value for name, value in same.items())
        ]

    return page_of(await asyncio.to_thread(matching), after=after, limit=limit)


def _models(evaluation: Evaluation) -> set[str]:
    rows = evaluation.report.rows if evaluation.report else ()
    return {row.model for row in rows} | {row.played.name for row in rows}


def _object(evaluation: Evaluation) -> dict[str, Any]:
    return {"object": "evaluation", **evaluation.model_dump(mode="json")}
