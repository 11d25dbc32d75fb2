"""Checks before every route: who sends the request, from where, and in which form.

This is plain ASGI, so that it costs streams nothing. A web page that a user happens to visit must
not be able to control a local bash. So `Host` has to name this machine, and POSTs have to be
declared as JSON, which a page can't send to another origin without a preflight. (Any PUT needs a
preflight.) A page may send an upload form, but then its browser names the page's origin.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from functools import partial

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentlm.errors import RateLimitError, UnavailableError
from agentlm.server.callers import Callers
from agentlm.server.http.errors import error_response
from agentlm.server.http.underway import Underway
from agentlm.server.metrics import Metrics
from agentlm.server.settings import ServeSettings

_OPEN = {"/health", "/"}
_OPEN_BELOW = "/assets/"
"""Paths that need no key: the page contains nobody's data, and asks for a key."""
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_WITH_JSON = {"POST", "PATCH"}
_FORMS = {"/v1/files"}
_POLICY = 1008
"""Close code of the WebSocket protocol."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class Guard:
    """Refuses with 400, 401, 403, 413, 415, 429 or 503. Otherwise it notes the caller and a request
    id.

    It also answers unexpected failures, so that they have a request id and are counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        callers: Callers,
        metrics: Metrics,
        underway: Underway,
    ) -> None:
        self._requests = metrics.requests
        self._underway = underway
        self._callers = callers
        self._app = app
        # A key that no web page has protects better than a host name, so then any name is allowed.
        local = {"localhost", "127.0.0.1", "[::1]", settings.host}
        self._hosts = None if callers.needs_key else local
        self._max_bytes = settings.max_request_bytes
        self._max_file_bytes = settings.max_file_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._guard_socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id") or f"req_{uuid.uuid4().hex}"
        begun = False

        async def send_named(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message)["x-request-id"] = request_id[:128]
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._requests.labels(method, message["status"]).inc()
            await send(message)

        with self._underway.request():
            try:
                refusal = self._refuse(scope, headers) or await self._identify(scope, headers)
                await (refusal or self._app)(scope, receive, send_named)
            except Exception as error:
                if begun:
                    raise
                await error_response(error)(scope, receive, send_named)

    async def _guard_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same check before a WebSocket opens. Each request over it goes through `admit` again.

        Browsers send no preflight for a WebSocket, so without keys a page is recognised by its
        origin.
        """
        headers = Headers(scope=scope)
        with self._underway.request():
            refusal = self._refuse_host(scope, headers)
            if refusal is None and self._hosts is not None and "origin" in headers:
                refusal = _refusal(403, "a web page can't open sockets to a server without keys")
            refusal = refusal or await self._identify(scope, headers)
            scope["admit"] = partial(self._identify, scope, headers)
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": _POLICY, "reason": "refused"})

    def _refuse_host(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if complaint := _wrong_host(scope, headers.getlist("host")):
            return _refusal(400, complaint)
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts:
            return _refusal(403, "this server only answers to requests for this machine's own name")
        return None

    def _refuse(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if (refusal := self._refuse_host(scope, headers)) is not None:
            return refusal
        if scope["method"] not in _WITH_JSON:
            return None
        if scope["path"] in _FORMS:
            return self._refuse_form(headers)
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        if kind != "application/json" and not empty:
            return _refusal(415, f"the content type must be application/json, got {kind!r}")
        if _too_long(headers.get("content-length"), self._max_bytes):
            return _refusal(413, f"the body may have at most {self._max_bytes} bytes")
        return None

    def _refuse_form(self, headers: Mapping[str, str]) -> JSONResponse | None:
        if self._hosts is not None and not _from_here(headers):
            return _refusal(403, "another's web page can't upload files to a server without keys")
        if _too_long(headers.get("content-length"), self._max_file_bytes):
            return _refusal(413, f"a file may have at most {self._max_file_bytes} bytes")
        return None

    async def _identify(self, scope: Scope, headers: Mapping[str, str]) -> JSONResponse | None:
        """Note the caller. Returns the refusal if there is none."""
        if scope["path"] in _OPEN or scope["path"].startswith(_OPEN_BELOW):
            return None
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        try:
            caller = await self._callers.find(secret.strip() if scheme.lower() == "bearer" else "")
            if caller is None:
                return _refusal(401, "a valid API key is needed", code="invalid_api_key")
            self._callers.spend(caller)
        except (RateLimitError, UnavailableError) as error:
            return error_response(error)
        scope["caller"] = caller
        return None


def _wrong_host(scope: Scope, named: Sequence[str]) -> str | None:
    """The error in the host that a request names: a proxy on its way could read another host."""
    if len(named) > 1 or (not named and scope.get("http_version") == "1.1"):
        return f"a request names its host once, by a Host header, got {len(named)}"
    if named and not _HOST.fullmatch(named[0]):
        return f"the Host header must be a name or address, with or without port, got {named[0]!r}"
    target = scope.get("authority")
    if target is not None and [target.lower()] != [each.lower() for each in named]:
        return f"the request's target names the host {target!r}, its Host header another"
    return None


def _from_here(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from no web page, or from this server's own."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0].lower()


def _too_long(length: str | None, limit: int) -> bool:
    return length is not None and length.isdigit() and int(length) > limit


def _refusal(status: int, message: str, code: str | None = None) -> JSONResponse:
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": error}, status, headers)
