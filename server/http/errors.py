"""Errors in OpenAI's format, and the one place that converts them."""

from __future__ import annotations

import difflib
import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from agentlm.errors import AgentLMError, RequestError, UnavailableError

log = logging.getLogger("agentlm.server")


def error_body(error: BaseException) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`, without any internals of the server."""
    match error:
        case RequestError():
            return _body(str(error), error.type, error.param, error.code)
        case UnavailableError():
            return _body(str(error), "server_error", None, "unavailable")
        case AgentLMError():
            return _body(str(error), "server_error")
    log.error("a request failed", exc_info=error)
    return _body("the server failed to answer; its log says why", "server_error")


def _body(
    message: str, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: Exception) -> JSONResponse:
    """The whole answer to a request that failed."""
    if isinstance(error, RequestError):
        retry = error.retry_after_s
        headers = {} if retry is None else {"retry-after": str(math.ceil(retry))}
        return JSONResponse(error_body(error), error.status, headers)
    if isinstance(error, UnavailableError):
        return JSONResponse(error_body(error), 503, {"retry-after": "1"})
    return JSONResponse(error_body(error), 500)


def _no_route(app: FastAPI, request: Request, error: HTTPException) -> str | None:
    """A hint for a request to an unknown path; None: the path exists."""
    path, method = request.url.path, request.method
    if error.status_code == 405:
        allowed = (error.headers or {}).get("allow", "")
        return f"{method} is not possible on {path[:128]}; allowed: {allowed}"
    if error.status_code != 404 or request.scope.get("route") is not None:
        return None
    known = [str(path) for path in app.openapi()["paths"]]
    near = difflib.get_close_matches(path[:128], known, n=1) or ["/openapi.json"]
    return f"there is no route {method} {path[:128]}; did you mean {near[0]}?"


def install(app: FastAPI) -> None:
    """Turn every expected failure of a route into an error object. `Guard` answers the others."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        return error_response(error)

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = _no_route(app, request, error) or str(error.detail)
        return JSONResponse(
            _body(message, "invalid_request_error"), error.status_code, error.headers
        )

    async def of_validation(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
        param = ".".join(place) or None
        message = first["msg"] if param is None else f"{param}: {first['msg']}"
        return JSONResponse(_body(message, "invalid_request_error", param), 400)

    async def of_leaving(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_exception_handler(AgentLMError, ours)
    app.add_exception_handler(ClientDisconnect, of_leaving)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)
