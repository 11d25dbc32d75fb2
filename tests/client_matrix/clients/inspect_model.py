"""inspect_ai's provider for servers of OpenAI's kind."""

from __future__ import annotations

import asyncio
import json

import openai
from inspect_ai.model import GenerateConfig, Model, ResponseSchema, get_model
from inspect_ai.tool import Tool, tool
from inspect_ai.util import json_schema
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


class Place(BaseModel):
    name: str
    rivers: int


@tool(name="weather")
def forecast() -> Tool:
    async def execute(city: str, days: int) -> str:
        """Tell the weather of a city.

        Args:
            city: The city's name.
            days: For how many days.
        """
        return weather(city, days)

    return execute


def chat(model: str = MODEL, **options: object) -> Model:
    return get_model(
        f"openai-api/agentlm/{model}",
        base_url=URL,
        api_key=KEY,
        config=GenerateConfig(max_retries=0, **options),
        memoize=False,
    )


async def text() -> None:
    equal((await chat().generate(HELLO)).completion, GREETING)


async def tool_call() -> None:
    messages, output = await chat().generate_loop(FORECAST, tools=[forecast()])
    equal(messages[0].tool_calls[0].arguments, ARGUMENTS)
    equal(output.completion, FORECAST_ANSWER)


async def structured() -> None:
    form = ResponseSchema(name="place", json_schema=json_schema(Place))
    answer = await chat(response_schema=form).generate(PLACE)
    equal(json.loads(answer.completion), PLACE_READ)


async def server_tool() -> None:
    equal((await chat(AGENT).generate(COMMAND)).completion, COMMAND_ANSWER)


async def error() -> None:
    asked = chat(MISSING).generate(HELLO)
    refused((await asyncio.gather(asked, return_exceptions=True))[0], openai.NotFoundError)


async def cancel() -> None:
    task = asyncio.create_task(chat().generate(counting(__name__)))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
