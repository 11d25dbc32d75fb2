"""Haystack's generator for either API, and its agent."""

from __future__ import annotations

import json
from typing import Any

import openai
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, in_pieces, refused


def chat(model: str = q.MODEL, **options: Any) -> Any:
    key = Secret.from_token(q.KEY)
    kind = OpenAIChatGenerator if q.WIRE == "chat" else OpenAIResponsesChatGenerator
    return kind(api_key=key, model=model, api_base_url=q.URL, max_retries=0, **options)


def asking(text: str) -> list[ChatMessage]:
    return [ChatMessage.from_user(text)]


def text() -> None:
    [answer] = chat().run(asking(q.HELLO))["replies"]
    equal(answer.text, q.GREETING)


def stream() -> None:
    texts: list[str] = []
    generator = chat(streaming_callback=lambda chunk: texts.append(chunk.content))
    [answer] = generator.run(asking(q.HELLO))["replies"]
    equal(answer.text, q.GREETING)
    in_pieces(texts)


def tool_call() -> None:
    agent = Agent(chat_generator=chat(), tools=[create_tool_from_function(q.weather)])
    messages = agent.run(messages=asking(q.FORECAST))["messages"]
    [call] = next(message.tool_calls for message in messages if message.tool_calls)
    equal(call.arguments, q.ARGUMENTS)
    equal(messages[-1].text, q.FORECAST_ANSWER)


def structured() -> None:
    form = "response_format" if q.WIRE == "chat" else "text_format"
    generator = chat(generation_kwargs={form: q.Place})
    [answer] = generator.run(asking(q.PLACE))["replies"]
    equal(json.loads(answer.text), q.PLACE_READ)


def server_tool() -> None:
    [answer] = chat(q.AGENT).run(asking(q.COMMAND))["replies"]
    equal(answer.text, q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(q.MISSING).run(asking(q.HELLO))), openai.NotFoundError)


async def cancel() -> None:
    await check_cancels(chat().run_async(asking(q.counting(__name__))), __name__)
