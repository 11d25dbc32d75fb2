"""inspect_ai's provider for servers of OpenAI's kind."""

from __future__ import annotations

import json

import openai
from inspect_ai.model import GenerateConfig, Model, ResponseSchema, StreamEvent, get_model
from inspect_ai.tool import Tool, tool
from inspect_ai.util import json_schema

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_awaited, in_pieces, refused


@tool(name="weather")
def forecast() -> Tool:
    async def execute(city: str, days: int) -> str:
        """Tell the weather of a city.

        Args:
            city: The city's name.
            days: For how many days.
        """
        return q.weather(city, days)

    return execute


def chat(model: str = q.MODEL, **options: object) -> Model:
    return get_model(
        f"openai-api/agentlm/{model}",
        base_url=q.URL,
        api_key=q.KEY,
        config=GenerateConfig(max_retries=0, **options),
        memoize=False,
        # It has answers kept: those that are not, it wants with their thoughts encrypted.
        **({"responses_api": True, "responses_store": True} if q.WIRE == "responses" else {}),
    )


async def text() -> None:
    equal((await chat().generate(q.HELLO)).completion, q.GREETING)


async def stream() -> None:
    texts: list[str] = []

    async def add(event: StreamEvent) -> None:
        texts.append(event.text)

    equal((await chat().generate(q.HELLO, on_stream=add)).completion, q.GREETING)
    in_pieces(texts)


async def tool_call() -> None:
    messages, output = await chat().generate_loop(q.FORECAST, tools=[forecast()])
    equal(messages[0].tool_calls[0].arguments, q.ARGUMENTS)
    equal(output.completion, q.FORECAST_ANSWER)


async def structured() -> None:
    form = ResponseSchema(name="place", json_schema=json_schema(q.Place))
    answer = await chat(response_schema=form).generate(q.PLACE)
    equal(json.loads(answer.completion), q.PLACE_READ)


async def server_tool() -> None:
    equal((await chat(q.AGENT).generate(q.COMMAND)).completion, q.COMMAND_ANSWER)


async def error() -> None:
    asked = chat(q.MISSING).generate(q.HELLO)
    refused(await error_awaited(asked), openai.NotFoundError)


async def cancel() -> None:
    await check_cancels(chat().generate(q.counting(__name__)), __name__)
