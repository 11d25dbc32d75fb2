"""LlamaIndex's `OpenAILike`, alone and under its function agent."""

from __future__ import annotations

import asyncio

import openai
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from client_matrix.questions import (
    AGENT,
    ARGUMENTS,
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
    """A place."""

    name: str
    rivers: int


def chat(model: str = MODEL) -> OpenAILike:
    return OpenAILike(
        model=model,
        api_base=URL,
        api_key=KEY,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
        context_window=8192,
    )


def text() -> None:
    equal(chat().complete(HELLO).text, GREETING)


def stream() -> None:
    texts = [part.delta for part in chat().stream_complete(HELLO) if part.delta]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"


async def tool_call() -> None:
    tool = FunctionTool.from_defaults(weather)
    agent = FunctionAgent(tools=[tool], llm=chat(), streaming=True)
    answer = await agent.run(FORECAST)
    equal(answer.tool_calls[0].tool_kwargs, ARGUMENTS)
    equal(answer.response.content, FORECAST_ANSWER)


def structured() -> None:
    answer = chat().as_structured_llm(Place).complete(PLACE)
    equal(answer.raw.model_dump(), PLACE_READ)


def server_tool() -> None:
    equal(chat(AGENT).complete(COMMAND).text, COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(MISSING).complete(HELLO)), openai.NotFoundError)


async def cancel() -> None:
    task = asyncio.create_task(chat().acomplete(counting(__name__)))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
