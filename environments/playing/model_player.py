"""A model behind any OpenAI-compatible URL.

The environment's actions are offered as the client's own function tools. Our own server keeps the
run as one trajectory and names it in the header `x-trajectory-id`; another server names none.

A name is not a model: the same one can stand on two servers, and mean other weights after a
training. So a player knows as which `PlayedModel` it began, and ends when that changes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import openai
from openai import AsyncOpenAI

from agentlm.environments.playing.players import ContextFullError, Reply
from agentlm.environments.task import Task
from agentlm.errors import OperatorError
from agentlm.messages import Frozen, Message, ToolCall, ToolSpec
from agentlm.openai_messages import own_seed, read_call, write_message, write_tool
from agentlm.prompt.grammar import FINAL_ANSWER
from agentlm.trajectory import Outcome

_TIMEOUT_S = 600.0
_GREETING_S = 10.0
_HOPELESS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


class PlayedModel(Frozen):
    """Which model it is, exactly enough that results of another are never taken for its own."""

    name: str
    url: str
    """Of its server's API, without a password."""
    weights_version: str | None = None
    """As our server reports it; None if a server does not: URL and name are all there is."""

    @property
    def caution(self) -> str | None:
        """What to know of results that are kept under this, if it may be of several models."""
        if self.weights_version is not None:
            return None
        return (
            f"{self.url} tells no version of its weights, so kept results are known by this URL "
            "and the name alone; after a training under the same name, use --fresh"
        )


class Decoding(Frozen):
    """How the model is asked to draw tokens."""

    temperature: float = 0.0
    max_tokens: int = 512
    """Per turn."""
    constrained: bool | None = None
    """Our server holds calls to their form unless this is False; None: the field is not sent."""
    seed: int = 0
    """Each task, try and turn has a seed of its own: they differ, and can be repeated."""


class ModelPlayer:
    """Plays by asking a model for each turn. Made by `connected`."""

    def __init__(
        self,
        client: AsyncOpenAI,
        model: PlayedModel,
        decoding: Decoding,
        metadata: Mapping[str, str],
    ) -> None:
        self.name = model.name
        self.model = model
        self._client = client
        self._decoding = decoding
        self._metadata = metadata
        self._weights_version = model.weights_version

    async def reply(
        self, task: Task, attempt: int, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> Reply:
        body = self._body(task, attempt, messages, tools)
        try:
            # Untyped: to go through messages and answer by their types takes as long as to send.
            response = await self._client.post(
                "/chat/completions", body=body, cast_to=httpx.Response
            )
        except _HOPELESS as error:
            raise OperatorError(f"{self._client.base_url} refused: {_words(error)}") from error
        except openai.BadRequestError as error:
            if error.code == "context_length_exceeded":
                raise ContextFullError(_words(error)) from error
            raise
        completion = _json_object(response)
        self._check_weights(response.headers.get("x-weights-version"))
        try:
            reply = _read(completion, response.headers.get("x-trajectory-id"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"{response.url} answered JSON that is not a completion: {error!r}"
            raise openai.OpenAIError(problem) from error
        return replace(reply, answer=_announced(reply.answer)) if tools else reply

    async def score(
        self,
        trajectory_id: str,
        *,
        reward: float | None,
        outcome: Outcome,
        error_classes: Sequence[str],
    ) -> None:
        """Tell our server how a run ended, and how well."""
        body = {"reward": reward, "outcome": outcome.value, "error_classes": list(error_classes)}
        path = f"/trajectories/{trajectory_id}/score"
        await self._client.post(path, body=body, cast_to=object)

    def _check_weights(self, version: str | None) -> None:
        begun = self._weights_version = self._weights_version or version
        if version is not None and version != begun:
            raise OperatorError(
                f"{self.name} changed while it played: its weights were {begun} and are now "
                f"{version}; run the command again to play the new ones"
            )

    def _body(
        self, task: Task, attempt: int, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> dict[str, Any]:
        named = {
            "environment": task.environment,
            "task_id": task.id,
            "family": task.family,
            "template": task.template,
            "split": task.split,
            "try": str(attempt),
        }
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [write_message(message) for message in messages],
            "temperature": self._decoding.temperature,
            "max_tokens": self._decoding.max_tokens,
            "seed": own_seed(self._decoding.seed, task.id, attempt, len(messages)),
            "metadata": {**self._metadata, **named},
        }
        if tools:
            body["tools"] = [write_tool(tool) for tool in tools]
        if self._decoding.constrained is not None:
            body["constrained"] = self._decoding.constrained
        return body


@asynccontextmanager
async def connected(
    url: str,
    model: str,
    decoding: Decoding,
    *,
    api_key: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> AsyncIterator[ModelPlayer]:
    """A player on an open connection. Raises OperatorError if nobody answers at the URL."""
    async with client_of(url, api_key) as client:
        yield ModelPlayer(client, await played_model(client, model), decoding, metadata or {})


@asynccontextmanager
async def client_of(url: str, api_key: str | None) -> AsyncIterator[AsyncOpenAI]:
    """An open connection. Raises OperatorError if nobody answers at the URL."""
    base = url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    async with AsyncOpenAI(
        base_url=base, api_key=api_key or "none", timeout=_TIMEOUT_S, max_retries=2
    ) as client:
        await _greet(client, base)
        yield client


async def played_model(client: AsyncOpenAI, name: str) -> PlayedModel:
    """What the server tells of a model, which may be nothing."""
    url = without_password(str(client.base_url))
    try:
        listed = _entries(await _models(client))
    except openai.OpenAIError:
        listed = []
    entry = next((entry for entry in listed if entry.get("id") == name), {})
    version = entry.get("weights_version")
    return PlayedModel(
        name=name, url=url, weights_version=version if isinstance(version, str) else None
    )


def without_password(url: str) -> str:
    """The URL as it may be written down."""
    return str(httpx.URL(url).copy_with(userinfo=b"")).rstrip("/")


async def _greet(client: AsyncOpenAI, base: str) -> None:
    try:
        await _models(client)
    except openai.APIConnectionError as error:
        raise OperatorError(f"no OpenAI-compatible server answers at {base}: {error}") from error
    except _HOPELESS[:2] as error:
        raise OperatorError(f"{base} refused: {_words(error)}") from error
    except openai.APIStatusError:
        return  # not every server lists its models; the first turn will tell


async def _models(client: AsyncOpenAI) -> str:
    patient = client.with_options(timeout=_GREETING_S, max_retries=0)
    return await patient.get("/models", cast_to=str)


def _entries(listed: str) -> list[dict[str, Any]]:
    """The models of a list, whatever else a server put there."""
    try:
        listing = json.loads(listed)
    except (ValueError, RecursionError):
        return []
    entries = listing.get("data") if isinstance(listing, dict) else None
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        kind = response.headers.get("content-type")
        raise openai.OpenAIError(f"{response.url} answered {kind} where JSON was expected")
    return value


def _read(completion: Mapping[str, Any], trajectory_id: str | None) -> Reply:
    choice = next(iter(completion.get("choices") or ()), None)
    if choice is None:
        return Reply(invalid="the reply holds no choice", trajectory_id=trajectory_id)
    message, usage = choice["message"], completion.get("usage") or {}
    thought = str(message.get("reasoning_content") or message.get("reasoning") or "")
    call, content = _call(message), message.get("content") or message.get("refusal") or ""
    nothing = call is None and not content.strip()
    return Reply(
        thought=thought if call is None else thought or content,
        call=call,
        answer=None if call or nothing else content.strip(),
        invalid="neither a call nor an answer" if nothing else None,
        cut=choice.get("finish_reason") == "length",
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        trajectory_id=trajectory_id,
    )


def _call(message: Mapping[str, Any]) -> ToolCall | None:
    """The first call: one a turn is what environments take."""
    for call in message.get("tool_calls") or ():
        if call.get("type") == "function":
            return read_call(call)
    return None


def _announced(content: str | None) -> str | None:
    """The answer alone: other servers' models may have learnt to announce it."""
    return None if content is None else content.rpartition(FINAL_ANSWER)[2].strip()


def _words(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)
