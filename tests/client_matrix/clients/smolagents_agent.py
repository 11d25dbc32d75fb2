"""smolagents' `OpenAIModel`, alone and under its tool-calling agent."""

from __future__ import annotations

import json

import openai
from smolagents import ChatMessage, MessageRole, OpenAIModel, ToolCallingAgent, tool

from client_matrix.questions import (
    AGENT,
    ARGUMENTS,
    COMMAND,
    COMMAND_ANSWER,
    FORECAST,
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
    holds,
    refused,
    weather,
)

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "rivers": {"type": "integer"}},
    "required": ["name", "rivers"],
    "additionalProperties": False,
}


def chat(model: str = MODEL) -> OpenAIModel:
    return OpenAIModel(
        model_id=model, api_base=URL, api_key=KEY, client_kwargs={"max_retries": 0}, retry=False
    )


def asking(text: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=text)]


def text() -> None:
    answer = chat().generate(asking(HELLO))
    equal(answer.content, GREETING)
    assert answer.token_usage


def stream() -> None:
    texts = [delta.content for delta in chat().generate_stream(asking(HELLO)) if delta.content]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"


def tool_call() -> None:
    agent = ToolCallingAgent(tools=[tool(weather)], model=chat(), max_steps=3, verbosity_level=0)
    agent.run(FORECAST)
    first = agent.memory.steps[1]
    holds(first.observations, weather(**ARGUMENTS))


def structured() -> None:
    form = {
        "type": "json_schema",
        "json_schema": {"name": "place", "schema": SCHEMA, "strict": True},
    }
    answer = chat().generate(asking(PLACE), response_format=form)
    equal(json.loads(answer.content), PLACE_READ)


def server_tool() -> None:
    equal(chat(AGENT).generate(asking(COMMAND)).content, COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(MISSING).generate(asking(HELLO))), openai.NotFoundError)


def cancel() -> None:
    model = chat()
    deltas = model.generate_stream(asking(counting(__name__)))
    next(delta for delta in deltas if delta.content)
    deltas.close()
    model.client.close()  # the generator leaves its connection open
    check_cancelled(__name__)
