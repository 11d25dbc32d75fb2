"""Another server with OpenAI's chat API, asked for one turn at a time, always as a stream.

Its answer is read as it arrives. If it fails before it has sent anything, it is asked again a
bounded number of times. After that the failure is raised as one of this project's errors.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from agentlm.errors import (
    AgentLMError,
    OperatorError,
    RateLimitError,
    RequestError,
    UnavailableError,
)
from agentlm.models.cards import ModelCard

ATTEMPTS = 3
LONGEST_WAIT_S = 8.0
"""If the upstream asks for a longer wait, we don't wait: our caller learns when to come back."""
_LONGEST_LINE = 16 * 1024 * 1024
_TRY_AGAIN = {408, 409, 429}
_ABOUT_THE_REQUEST = {400, 413, 422}


class _EventPart(BaseModel):
    """A part of an event. A field that is null counts as absent."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None}


class FunctionDelta(_EventPart):
    name: str | None = None
    arguments: str | None = None


class CallDelta(_EventPart):
    index: int | None = None
    function: FunctionDelta = FunctionDelta()


class ChatDelta(_EventPart):
    """What a chunk adds to the turn."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """The same as `reasoning_content`; some servers use this name."""
    tool_calls: list[CallDelta] | None = None


class ChunkChoice(_EventPart):
    """We ask for one choice only."""

    delta: ChatDelta = ChatDelta()
    finish_reason: str | None = None


class PromptDetails(_EventPart):
    cached_tokens: int | None = None


class CompletionDetails(_EventPart):
    reasoning_tokens: int | None = None


class ChunkUsage(_EventPart):
    """Tokens of the turn, as the upstream counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Chunk(_EventPart):
    """One event of the stream."""

    model: str | None = None
    choices: list[ChunkChoice] = []
    usage: ChunkUsage | None = None
    error: Any = None


def checked_url(url: str) -> str:
    """A base URL to ask. Raises ValueError if it can't be asked, or if it contains a secret."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    if parsed.scheme not in ("http", "https") or not parsed.raw_host:
        raise ValueError("must be an http or https URL")
    if parsed.userinfo or parsed.query:
        raise ValueError("must have no password or query: name the key's variable (--api-key-env)")
    return url.rstrip("/")


class Upstream:
    """A model of another server. It lives as long as our server and keeps its connections."""

    def __init__(self, url: str, model: str, *, key: str | None, timeout_s: float) -> None:
        self.model = model
        """The model's name at the upstream."""
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s), pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        self._url = f"{url.rstrip('/')}/chat/completions"

    @classmethod
    def of(
        cls, card: ModelCard, *, timeout_s: float, environment: Mapping[str, str] = os.environ
    ) -> Upstream:
        """The upstream of a card. Raises OperatorError if the variable for its key is not set."""
        key = None
        if card.api_key_env is not None and not (key := environment.get(card.api_key_env)):
            raise OperatorError(
                f"{card.name} needs its key in the environment variable {card.api_key_env}, "
                "which is not set"
            )
        return cls(card.location, card.upstream_model or card.name, key=key, timeout_s=timeout_s)

    async def chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        """Ask for a turn and yield it as it comes; closing the generator cancels the request.

        Raises RequestError if the upstream finds the request wrong, RateLimitError if it got too
        many requests, UnavailableError for everything that the caller can't change.
        """
        request_body = {
            **body,
            "model": self.model,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async with self._answered(request_body) as response, aclosing(_lines(response)) as lines:
            async for line in lines:
                if line.startswith(b"data:"):
                    data = line[5:].strip()
                    if data == b"[DONE]":
                        return
                    yield _chunk(data)

    async def close(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def _answered(self, body: Mapping[str, Any]) -> AsyncIterator[httpx.Response]:
        """A response with status 200 whose body is still to be read."""
        try:
            response = await self._ask(body)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise UnavailableError("the upstream did not answer in time") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"the upstream can't be reached: {reason}") from error

    async def _ask(self, body: Mapping[str, Any]) -> httpx.Response:
        for attempt in range(1, ATTEMPTS + 1):
            request = self._client.build_request("POST", self._url, json=body)
            try:
                response = await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.RemoteProtocolError):
                if attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(_back_off(attempt))
                continue
            if response.status_code == 200:
                return response
            wait_s = _wait(response, attempt)
            if attempt == ATTEMPTS or wait_s is None:
                raise await _failure(response)
            await response.aclose()
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Lines of server-sent events. JSON may contain characters at which `str.splitlines` splits."""
    begun = b""
    async for part in response.aiter_bytes():
        *lines, begun = (begun + part).split(b"\n")
        for line in lines:
            yield line
        if len(begun) > _LONGEST_LINE:
            raise UnavailableError("the upstream sends a line without end")
    yield begun


def _chunk(data: bytes) -> Chunk:
    try:
        chunk = Chunk.model_validate_json(data)
    except ValidationError as error:
        raise UnavailableError("the upstream's answer can't be understood") from error
    if chunk.error is not None:
        raise UnavailableError(f"the upstream failed: {_message(chunk.error)}")
    return chunk


def _back_off(attempt: int) -> float:
    return 0.5 * (1 << attempt - 1) * random.uniform(0.75, 1.25)


def _wait(response: httpx.Response, attempt: int) -> float | None:
    """Seconds to wait before asking again. None: asking again is pointless."""
    if response.status_code not in _TRY_AGAIN and response.status_code < 500:
        return None
    retry_after_s = _retry_after(response)
    if retry_after_s is None:
        return _back_off(attempt)
    return retry_after_s if retry_after_s <= LONGEST_WAIT_S else None


def _retry_after(response: httpx.Response) -> float | None:
    """The `Retry-After` header, in seconds from now."""
    header = response.headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(header))
    with suppress(ValueError):
        seconds: float = parsedate_to_datetime(header).timestamp() - time()
        return max(0.0, seconds)
    return None


async def _failure(response: httpx.Response) -> AgentLMError:
    """The error for our caller; closes the response."""
    try:
        upstream_error = _parsed(await response.aread())
    finally:
        await response.aclose()
    status = response.status_code
    if status in _ABOUT_THE_REQUEST:
        param, code = (upstream_error.get(name) for name in ("param", "code"))
        return RequestError(
            f"the upstream refuses this: {_message(upstream_error)}",
            param=param if isinstance(param, str) else None,
            code=code if isinstance(code, str) else None,
        )
    if status == 429:
        return RateLimitError("the upstream has had too many requests", _retry_after(response) or 1)
    if status in (401, 403):
        # The upstream's message may quote the key.
        return UnavailableError(f"the upstream does not accept this server's key ({status})")
    return UnavailableError(f"the upstream failed ({status}): {_message(upstream_error)}")


def _parsed(body: bytes) -> dict[str, Any]:
    """The error object of a response; empty if there is none."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = payload.get("error", payload) if isinstance(payload, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def _message(error: Any) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:500] if message else "it does not say why"
