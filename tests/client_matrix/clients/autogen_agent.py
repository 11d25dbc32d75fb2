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
    refused,
    weather,
)

ABILITIES: Any = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "family": "unknown",
    "structured_output": True,
}


class Place(BaseModel):
    name: str
    rivers: int


def chat(model: str = MODEL) -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(
        model=model, base_url=URL, api_key=KEY, model_info=ABILITIES, max_retries=0
    )


def asking(text: str) -> list[UserMessage]:
    return [UserMessage(content=text, source="user")]


async def text() -> None:
    equal((await chat().create(asking(HELLO))).content, GREETING)


async def stream() -> None:
    parts = [part async for part in chat().create_stream(asking(HELLO))]
    texts = [part for part in parts if isinstance(part, str)]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"
    equal(parts[-1].content, GREETING)


async def tool_call() -> None:
    agent = AssistantAgent(
        "assistant", chat(), tools=[weather], reflect_on_tool_use=True, system_message=None
    )
    messages = (await agent.run(task=FORECAST)).messages
    equal(json.loads(messages[1].content[0].arguments), ARGUMENTS)
    equal(messages[-1].content, FORECAST_ANSWER)


async def structured() -> None:
    answer = await chat().create(asking(PLACE), json_output=Place)
    equal(json.loads(answer.content), PLACE_READ)


async def server_tool() -> None:
    equal((await chat(AGENT).create(asking(COMMAND))).content, COMMAND_ANSWER)


async def error() -> None:
    asked = chat(MISSING).create(asking(HELLO))
    refused((await asyncio.gather(asked, return_exceptions=True))[0], openai.NotFoundError)


async def cancel() -> None:
    token = CancellationToken()
    asked = chat().create(asking(counting(__name__)), cancellation_token=token)
    task = asyncio.create_task(asked)
    await asyncio.sleep(1)
    token.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
