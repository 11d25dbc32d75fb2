"""Semantic Kernel's `OpenAIResponsesAgent`."""

from __future__ import annotations

import json
from typing import Any

import openai
from semantic_kernel.agents import OpenAIResponsesAgent
from semantic_kernel.functions import kernel_function

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_awaited, holds, in_pieces


class Sky:
    asked: list[object]

    def __init__(self) -> None:
        self.asked = []

    @kernel_function(name="weather", description="Tell the weather of a city.")
    def weather(self, city: str, days: int) -> str:
        self.asked.append({"city": city, "days": days})
        return q.weather(city, days)


def agent(model: str = q.MODEL, **options: Any) -> OpenAIResponsesAgent:
    client = openai.AsyncOpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)
    return OpenAIResponsesAgent(
        ai_model_id=model, client=client, name="assistant", instructions="Be brief.", **options
    )


async def ask(agent: OpenAIResponsesAgent, text: str) -> str:
    return str((await agent.get_response(messages=text)).message)


async def text() -> None:
    first = await agent().get_response(messages=q.HELLO)
    equal(str(first.message), q.GREETING)
    second = await agent().get_response(messages=q.HELLO, thread=first.thread)
    equal(str(second.message), q.GREETING)


async def stream() -> None:
    in_pieces([str(part.message) async for part in agent().invoke_stream(messages=q.HELLO)])


async def tool_call() -> None:
    sky = Sky()
    equal(await ask(agent(plugins=[sky]), q.FORECAST), q.FORECAST_ANSWER)
    equal(sky.asked, [q.ARGUMENTS])


async def structured() -> None:
    form = OpenAIResponsesAgent.configure_response_format(q.Place)
    equal(json.loads(await ask(agent(text=form), q.PLACE)), q.PLACE_READ)


async def server_tool() -> None:
    equal(await ask(agent(q.AGENT), q.COMMAND), q.COMMAND_ANSWER)


async def error() -> None:
    failure = await error_awaited(ask(agent(q.MISSING), q.HELLO))
    holds(failure.__cause__ if failure else None, q.NOT_FOUND)


async def cancel() -> None:
    await check_cancels(ask(agent(), q.counting(__name__)), __name__)
