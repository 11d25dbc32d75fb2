"""Haystack's `OpenAIChatGenerator`, and its agent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
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
    name: str
    rivers: int


def chat(model: str = MODEL, **options: Any) -> OpenAIChatGenerator:
    key = Secret.from_token(KEY)
    return OpenAIChatGenerator(api_key=key, model=model, api_base_url=URL, max_retries=0, **options)


def asking(text: str) -> list[ChatMessage]:
    return [ChatMessage.from_user(text)]


def text() -> None:
    [answer] = chat().run(asking(HELLO))["replies"]
    equal(answer.text, GREETING)


def stream() -> None:
    texts: list[str] = []
    generator = chat(streaming_callback=lambda chunk: texts.append(chunk.content))
    [answer] = generator.run(asking(HELLO))["replies"]
    equal((answer.text, "".join(texts)), (GREETING, GREETING))
    assert len([text for text in texts if text]) > 2, "it came in one piece"


def tool_call() -> None:
    agent = Agent(chat_generator=chat(), tools=[create_tool_from_function(weather)])
    messages = agent.run(messages=asking(FORECAST))["messages"]
    [call] = next(message.tool_calls for message in messages if message.tool_calls)
    equal(call.arguments, ARGUMENTS)
    equal(messages[-1].text, FORECAST_ANSWER)


def structured() -> None:
    generator = chat(generation_kwargs={"response_format": Place})
    [answer] = generator.run(asking(PLACE))["replies"]
    equal(json.loads(answer.text), PLACE_READ)


def server_tool() -> None:
    [answer] = chat(AGENT).run(asking(COMMAND))["replies"]
    equal(answer.text, COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(MISSING).run(asking(HELLO))), openai.NotFoundError)


async def cancel() -> None:
    task = asyncio.create_task(chat().run_async(asking(counting(__name__))))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
