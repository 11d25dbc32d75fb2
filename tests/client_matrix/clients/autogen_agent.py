"""AutoGen's `OpenAIChatCompletionClient`, alone and under its agent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
from autogen_agentchat.agents import AssistantAgent
from autogen_core import CancellationToken
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient

from client_matrix import questions as q
from client_matrix.checks import (
    check_cancelled,
    equal,
    error_awaited,
    in_pieces,
    refused,
    wait_until_it_runs,
)

ABILITIES: Any = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "family": "unknown",
    "structured_output": True,
}


def chat(model: str = q.MODEL) -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(
        model=model, base_url=q.URL, api_key=q.KEY, model_info=ABILITIES, max_retries=0
    )


def asking(text: str) -> list[UserMessage]:
    return [UserMessage(content=text, source="user")]


async def text() -> None:
    equal((await chat().create(asking(q.HELLO))).content, q.GREETING)


async def stream() -> None:
    parts = [part async for part in chat().create_stream(asking(q.HELLO))]
    texts = [part for part in parts if isinstance(part, str)]
    in_pieces(texts)
    equal(parts[-1].content, q.GREETING)


async def tool_call() -> None:
    agent = AssistantAgent(
        "assistant", chat(), tools=[q.weather], reflect_on_tool_use=True, system_message=None
    )
    messages = (await agent.run(task=q.FORECAST)).messages
    equal(json.loads(messages[1].content[0].arguments), q.ARGUMENTS)
    equal(messages[-1].content, q.FORECAST_ANSWER)


async def structured() -> None:
    answer = await chat().create(asking(q.PLACE), json_output=q.Place)
    equal(json.loads(answer.content), q.PLACE_READ)


async def server_tool() -> None:
    equal((await chat(q.AGENT).create(asking(q.COMMAND))).content, q.COMMAND_ANSWER)


async def error() -> None:
    asked = chat(q.MISSING).create(asking(q.HELLO))
    refused(await error_awaited(asked), openai.NotFoundError)


async def cancel() -> None:
    token = CancellationToken()
    asked = chat().create(asking(q.counting(__name__)), cancellation_token=token)
    task = asyncio.create_task(asked)
    await asyncio.to_thread(wait_until_it_runs)
    token.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
