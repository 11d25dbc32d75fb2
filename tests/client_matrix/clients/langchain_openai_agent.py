"""LangChain's `ChatOpenAI`, and its agent, which is LangGraph's."""

from __future__ import annotations

import asyncio

import openai
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from client_matrix.questions import (
    AGENT,
    ARGUMENTS,
    BASH,
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
    TOO_LONG,
    URL,
    check_cancelled,
    counting,
    equal,
    error_of,
    refused,
    weather,
)


class Place(BaseModel):
    """A place."""

    name: str
    rivers: int


def chat(model: str = MODEL) -> ChatOpenAI:
    # A tool that is no function would make it ask by the Responses API.
    return ChatOpenAI(
        model=model, base_url=URL, api_key=KEY, max_retries=0, use_responses_api=False
    )


def text() -> None:
    answer = chat().invoke(HELLO)
    equal(answer.content, GREETING)
    assert answer.usage_metadata


def stream() -> None:
    chunks = [chunk.text for chunk in chat().stream(HELLO)]
    equal("".join(chunks), GREETING)
    assert len([chunk for chunk in chunks if chunk]) > 2, "it came in one piece"


def tool_call() -> None:
    agent = create_agent(chat(), [tool(weather)])
    [_, asked, _, answer] = agent.invoke({"messages": [("user", FORECAST)]})["messages"]
    equal(asked.tool_calls[0]["args"], ARGUMENTS)
    equal(answer.content, FORECAST_ANSWER)


def structured() -> None:
    for method in ("json_schema", "function_calling"):
        reader = chat().with_structured_output(Place, method=method)
        equal(reader.invoke(PLACE), Place(**PLACE_READ))


def server_tool() -> None:
    equal(chat().invoke(COMMAND, tools=[BASH]).content, COMMAND_ANSWER)
    equal(chat(AGENT).invoke(COMMAND).content, COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(MISSING).invoke(HELLO)), openai.NotFoundError)
    too_long = error_of(lambda: chat().invoke(TOO_LONG))
    # Its own ContextOverflowError it makes of what OpenAI's package 2 shows, and 3 does not.
    equal(getattr(too_long, "code", None), "context_length_exceeded")


async def cancel() -> None:
    task = asyncio.create_task(chat().ainvoke(counting(__name__)))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
