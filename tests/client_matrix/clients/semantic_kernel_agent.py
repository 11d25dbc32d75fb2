"""Semantic Kernel's `OpenAIResponsesAgent`."""

from __future__ import annotations

import json
from typing import Any

from semantic_kernel.agents import OpenAIResponsesAgent

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_awaited, holds, in_pieces
from client_matrix.semantic_kernel_parts import Sky, openai_client


def agent(model: str = q.MODEL, **options: Any) -> OpenAIResponsesAgent:
    return OpenAIResponsesAgent(
        ai_model_id=model,
        client=openai_client(),
        name="assistant",
        instructions="Be brief.",
        **options,
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
