"""OpenAI's agents SDK on its chat completions model."""

from __future__ import annotations

import asyncio

import openai
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

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
    refused,
    weather,
)

set_tracing_disabled(True)


class Place(BaseModel):
    name: str
    rivers: int


def agent(model: str = MODEL, tools: tuple = (), output: type | None = None) -> Agent:
    client = openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)
    chat = OpenAIChatCompletionsModel(model, client)
    return Agent("assistant", model=chat, tools=list(tools), output_type=output)


async def text() -> None:
    answer = await Runner.run(agent(), HELLO)
    equal(answer.final_output, GREETING)


async def stream() -> None:
    answer = Runner.run_streamed(agent(), HELLO)
    texts = [
        event.data.delta
        async for event in answer.stream_events()
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    ]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"


async def tool_call() -> None:
    tools = (function_tool(weather),)
    equal((await Runner.run(agent(tools=tools), FORECAST)).final_output, FORECAST_ANSWER)
    streamed = Runner.run_streamed(agent(tools=tools), FORECAST)
    async for _ in streamed.stream_events():
        pass
    equal(streamed.final_output, FORECAST_ANSWER)


async def structured() -> None:
    answer = await Runner.run(agent(output=Place), PLACE)
    equal(answer.final_output, Place(**PLACE_READ))


async def server_tool() -> None:
    equal((await Runner.run(agent(AGENT), COMMAND)).final_output, COMMAND_ANSWER)


async def error() -> None:
    failure = (await asyncio.gather(Runner.run(agent(MISSING), HELLO), return_exceptions=True))[0]
    refused(failure, openai.NotFoundError)


async def cancel() -> None:
    task = asyncio.create_task(Runner.run(agent(), counting(__name__)))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
