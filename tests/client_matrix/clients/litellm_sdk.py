"""LiteLLM's SDK, with `openai/` before the model's name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import litellm

from client_matrix import questions as q
from client_matrix.checks import check_cancelled, equal, error_of, in_pieces, refused
from client_matrix.forecasts import forecast_by_messages

litellm.telemetry = False


def ask(content: str | list[Any], model: str = q.MODEL, **options: Any) -> Any:
    messages = q.asking(content) if isinstance(content, str) else content
    return litellm.completion(
        f"openai/{model}", messages, api_base=q.URL, api_key=q.KEY, max_retries=0, **options
    )


def text() -> None:
    answer = ask(q.HELLO)
    equal(answer.choices[0].message.content, q.GREETING)
    assert answer.usage.completion_tokens > 0


def stream() -> None:
    chunks = list(ask(q.HELLO, stream=True))
    in_pieces([chunk.choices[0].delta.content or "" for chunk in chunks])
    equal(litellm.stream_chunk_builder(chunks).choices[0].message.content, q.GREETING)


def tool_call() -> None:
    forecast_by_messages(ask)


def structured() -> None:
    answer = ask(q.PLACE, response_format=q.Place).choices[0].message.content
    equal(json.loads(answer), q.PLACE_READ)


def server_tool() -> None:
    equal(ask(q.COMMAND, tools=[q.BASH]).choices[0].message.content, q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: ask(q.HELLO, q.MISSING)), litellm.NotFoundError)
    too_long = error_of(lambda: ask(q.TOO_LONG))
    assert isinstance(too_long, litellm.ContextWindowExceededError), repr(too_long)[:300]


async def cancel() -> None:
    chunks = await litellm.acompletion(
        f"openai/{q.MODEL}",
        q.asking(q.counting(__name__)),
        api_base=q.URL,
        api_key=q.KEY,
        stream=True,
    )
    async for chunk in chunks:
        if chunk.choices[0].delta.content:
            break
    await chunks.aclose()
    # Closing is not over before the loop has run on.
    await asyncio.to_thread(check_cancelled, __name__)
