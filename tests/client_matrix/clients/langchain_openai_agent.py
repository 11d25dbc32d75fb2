"""LangChain's `ChatOpenAI`, and its agent, which is LangGraph's."""

from __future__ import annotations

import openai
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, in_pieces, refused


def chat(model: str = q.MODEL) -> ChatOpenAI:
    # Unless it is told, it asks by chat until a tool is no function.
    responses = q.WIRE == "responses"
    return ChatOpenAI(
        model=model, base_url=q.URL, api_key=q.KEY, max_retries=0, use_responses_api=responses
    )


def text() -> None:
    answer = chat().invoke(q.HELLO)
    equal(answer.text, q.GREETING)
    assert answer.usage_metadata


def stream() -> None:
    in_pieces([chunk.text for chunk in chat().stream(q.HELLO)])


def tool_call() -> None:
    agent = create_agent(chat(), [tool(q.weather)])
    [_, asked, _, answer] = agent.invoke({"messages": [("user", q.FORECAST)]})["messages"]
    equal(asked.tool_calls[0]["args"], q.ARGUMENTS)
    equal(answer.text, q.FORECAST_ANSWER)


def structured() -> None:
    for method in ("json_schema", "function_calling"):
        reader = chat().with_structured_output(q.Place, method=method)
        equal(reader.invoke(q.PLACE), q.Place(**q.PLACE_READ))


def server_tool() -> None:
    equal(chat().invoke(q.COMMAND, tools=[q.BASH]).text, q.COMMAND_ANSWER)
    equal(chat(q.AGENT).invoke(q.COMMAND).text, q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(q.MISSING).invoke(q.HELLO)), openai.NotFoundError)
    too_long = error_of(lambda: chat().invoke(q.TOO_LONG))
    # Its own ContextOverflowError it makes of what OpenAI's package 2 shows, and 3 does not.
    equal(getattr(too_long, "code", None), "context_length_exceeded")


async def cancel() -> None:
    await check_cancels(chat().ainvoke(q.counting(__name__)), __name__)
