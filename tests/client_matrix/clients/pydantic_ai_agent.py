"""Pydantic AI's agent on `OpenAIChatModel`."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from client_matrix.questions import (
    AGENT,
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
    URL,
    check_cancelled,
    counting,
    equal,
    error_of,
    refused,
    weather,
)


class Place(BaseModel):
    name: str
    rivers: int


def chat(model: str = MODEL) -> OpenAIChatModel:
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=URL, api_key=KEY))


def text() -> None:
    answer = Agent(chat()).run_sync(HELLO)
    equal(answer.output, GREETING)
    assert answer.usage.output_tokens > 0


async def stream() -> None:
    async with Agent(chat()).run_stream(HELLO) as answer:
        texts = [text async for text in answer.stream_text(delta=True, debounce_by=None)]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"


def tool_call() -> None:
    equal(Agent(chat(), tools=[weather]).run_sync(FORECAST).output, FORECAST_ANSWER)


def structured() -> None:
    for output in (Place, NativeOutput(Place)):
        equal(Agent(chat(), output_type=output).run_sync(PLACE).output, Place(**PLACE_READ))


def server_tool() -> None:
    equal(Agent(chat(AGENT)).run_sync(COMMAND).output, COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: Agent(chat(MISSING)).run_sync(HELLO)), ModelHTTPError)


async def cancel() -> None:
    async with Agent(chat()).run_stream(counting(__name__)) as answer:
        async for _ in answer.stream_text(delta=True, debounce_by=None):
            break
        await answer.cancel()
    await asyncio.to_thread(check_cancelled, __name__)
