"""Pydantic AI's agent on `OpenAIResponsesModel` and `OpenAIChatModel`."""

from __future__ import annotations

import asyncio

from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from client_matrix import questions as q
from client_matrix.checks import check_cancelled, equal, error_of, in_pieces, refused


def chat(model: str = q.MODEL) -> OpenAIChatModel | OpenAIResponsesModel:
    kind = OpenAIChatModel if q.WIRE == "chat" else OpenAIResponsesModel
    return kind(model, provider=OpenAIProvider(base_url=q.URL, api_key=q.KEY))


def text() -> None:
    answer = Agent(chat()).run_sync(q.HELLO)
    equal(answer.output, q.GREETING)
    assert answer.usage.output_tokens > 0


async def stream() -> None:
    async with Agent(chat()).run_stream(q.HELLO) as answer:
        texts = [text async for text in answer.stream_text(delta=True, debounce_by=None)]
    in_pieces(texts)


def tool_call() -> None:
    equal(Agent(chat(), tools=[q.weather]).run_sync(q.FORECAST).output, q.FORECAST_ANSWER)


def structured() -> None:
    for output in (q.Place, NativeOutput(q.Place)):
        equal(Agent(chat(), output_type=output).run_sync(q.PLACE).output, q.Place(**q.PLACE_READ))


def server_tool() -> None:
    equal(Agent(chat(q.AGENT)).run_sync(q.COMMAND).output, q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: Agent(chat(q.MISSING)).run_sync(q.HELLO)), ModelHTTPError)


async def cancel() -> None:
    async with Agent(chat()).run_stream(q.counting(__name__)) as answer:
        async for _ in answer.stream_text(delta=True, debounce_by=None):
            break
        await answer.cancel()
    await asyncio.to_thread(check_cancelled, __name__)
