"""OpenAI's agents SDK on either of its models."""

from __future__ import annotations

import openai
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai.types.responses import ResponseTextDeltaEvent

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_awaited, in_pieces, refused

set_tracing_disabled(True)


def agent(model: str = q.MODEL, tools: tuple = (), output: type | None = None) -> Agent:
    client = openai.AsyncOpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)
    kinds = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}
    asked = kinds[q.WIRE](model, client)
    return Agent("assistant", model=asked, tools=list(tools), output_type=output)


async def text() -> None:
    answer = await Runner.run(agent(), q.HELLO)
    equal(answer.final_output, q.GREETING)


async def stream() -> None:
    answer = Runner.run_streamed(agent(), q.HELLO)
    texts = [
        event.data.delta
        async for event in answer.stream_events()
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    ]
    in_pieces(texts)


async def tool_call() -> None:
    tools = (function_tool(q.weather),)
    equal((await Runner.run(agent(tools=tools), q.FORECAST)).final_output, q.FORECAST_ANSWER)
    streamed = Runner.run_streamed(agent(tools=tools), q.FORECAST)
    async for _ in streamed.stream_events():
        pass
    equal(streamed.final_output, q.FORECAST_ANSWER)


async def structured() -> None:
    answer = await Runner.run(agent(output=q.Place), q.PLACE)
    equal(answer.final_output, q.Place(**q.PLACE_READ))


async def server_tool() -> None:
    equal((await Runner.run(agent(q.AGENT), q.COMMAND)).final_output, q.COMMAND_ANSWER)


async def error() -> None:
    failure = await error_awaited(Runner.run(agent(q.MISSING), q.HELLO))
    refused(failure, openai.NotFoundError)


async def cancel() -> None:
    await check_cancels(Runner.run(agent(), q.counting(__name__)), __name__)
