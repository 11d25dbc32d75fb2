"""LiteLLM's SDK, with `openai/` before the model's name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import litellm
from pydantic import BaseModel

from client_matrix.questions import (
    ARGUMENTS,
    BASH,
    COMMAND,
    COMMAND_ANSWER,
    FORECAST,
    FORECAST_ANSWER,
    GREETING,
    HELLO,
    KEY,
    MISSING,
    MODEL,
    PLACE,
    PLACE_READ,
    TOO_LONG,
    TOOL,
    URL,
    check_cancelled,
    counting,
    equal,
    error_of,
    refused,
    weather,
)

litellm.telemetry = False


class Place(BaseModel):
    name: str
    rivers: int


def ask(said: str | list[Any], model: str = MODEL, **options: Any) -> Any:
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    return litellm.completion(
        f"openai/{model}", messages, api_base=URL, api_key=KEY, max_retries=0, **options
    )


def text() -> None:
    answer = ask(HELLO)
    equal(answer.choices[0].message.content, GREETING)
    assert answer.usage.completion_tokens > 0


def stream() -> None:
    chunks = list(ask(HELLO, stream=True))
    texts = [chunk.choices[0].delta.content for chunk in chunks]
    equal("".join(text or "" for text in texts), GREETING)
    assert len(texts) > 2, "it came in one piece"
    equal(litellm.stream_chunk_builder(chunks).choices[0].message.content, GREETING)


def tool_call() -> None:
    messages: list[Any] = [{"role": "user", "content": FORECAST}]
    message = ask(messages, tools=[TOOL]).choices[0].message
    [call] = message.tool_calls
    arguments = json.loads(call.function.arguments)
    equal(arguments, ARGUMENTS)
    result = {"role": "tool", "tool_call_id": call.id, "content": weather(**arguments)}
    answer = ask([*messages, message, result], tools=[TOOL])
    equal(answer.choices[0].message.content, FORECAST_ANSWER)


def structured() -> None:
    answer = ask(PLACE, response_format=Place).choices[0].message.content
    equal(json.loads(answer), PLACE_READ)


def server_tool() -> None:
    equal(ask(COMMAND, tools=[BASH]).choices[0].message.content, COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: ask(HELLO, MISSING)), litellm.NotFoundError)
    too_long = error_of(lambda: ask(TOO_LONG))
    assert isinstance(too_long, litellm.ContextWindowExceededError), repr(too_long)[:300]


async def cancel() -> None:
    chunks = await litellm.acompletion(
        f"openai/{MODEL}",
        [{"role": "user", "content": counting(__name__)}],
        api_base=URL,
        api_key=KEY,
        stream=True,
    )
    async for chunk in chunks:
        if chunk.choices[0].delta.content:
            break
    await chunks.aclose()
    # Closing is not over before the loop has run on.
    await asyncio.to_thread(check_cancelled, __name__)
