"""OpenAI's own package."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai import OpenAI
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
    holds,
    refused,
    weather,
)


class Place(BaseModel):
    name: str
    rivers: int


chat = OpenAI(base_url=URL, api_key=KEY, max_retries=0).chat.completions


def asking(text: str) -> Any:
    return [{"role": "user", "content": text}]


def text() -> None:
    answer = chat.create(model=MODEL, messages=asking(HELLO))
    equal(answer.choices[0].message.content, GREETING)
    equal(answer.choices[0].finish_reason, "stop")
    assert answer.usage
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)


def stream() -> None:
    chunks = list(
        chat.create(
            model=MODEL,
            messages=asking(HELLO),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    deltas = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    texts = [delta for delta in deltas if delta]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"
    assert chunks[-1].usage


def tool_call() -> None:
    messages = asking(FORECAST)
    message = chat.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message
    [call] = message.tool_calls or []
    equal(call.function.name, "weather")
    arguments = json.loads(call.function.arguments)
    equal(arguments, ARGUMENTS)
    result = {"role": "tool", "tool_call_id": call.id, "content": weather(**arguments)}
    messages += [message, result]
    answer = chat.create(model=MODEL, messages=messages, tools=[TOOL])
    equal(answer.choices[0].message.content, FORECAST_ANSWER)


def structured() -> None:
    answer = chat.parse(model=MODEL, messages=asking(PLACE), response_format=Place)
    equal(answer.choices[0].message.parsed, Place(**PLACE_READ))


def server_tool() -> None:
    answer = chat.create(model=MODEL, messages=asking(COMMAND), tools=[BASH])
    equal(answer.choices[0].message.content, COMMAND_ANSWER)


def error() -> None:
    missing = error_of(lambda: chat.create(model=MISSING, messages=asking(HELLO)))
    refused(missing, openai.NotFoundError)
    too_long = error_of(lambda: chat.create(model=MODEL, messages=asking(TOO_LONG)))
    equal(getattr(too_long, "code", None), "context_length_exceeded")
    holds(too_long, "maximum context length")


def cancel() -> None:
    with chat.create(model=MODEL, messages=asking(counting(__name__)), stream=True) as chunks:
        next(chunk for chunk in chunks if chunk.choices[0].delta.content)
    check_cancelled(__name__)
