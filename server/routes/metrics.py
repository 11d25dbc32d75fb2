"""`/metrics`, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from agentlm.server.state import Caller, State

router = APIRouter()


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(state: State, _caller: Caller) -> Response:
    """The server's and the engine's metrics."""
    return Response(state.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
