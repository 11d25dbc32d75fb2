"""smolagents' `OpenAIModel`, alone and under its tool-calling agent."""

from __future__ import annotations

import json

import openai
from smolagents import ChatMessage, MessageRole, OpenAIModel, ToolCallingAgent, tool

from client_matrix import questions as q
from client_matrix.checks import check_cancelled, equal, error_of, holds, in_pieces, refused

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "rivers": {"type": "integer"}},
    "required": ["name", "rivers"],
    "additionalProperties": False,
}


def chat(model: str = q.MODEL) -> OpenAIModel:
    return OpenAIModel(
        model_id=model, api_base=q.URL, api_key=q.KEY, client_kwargs={"max_retries": 0}, retry=False
    )


def asking(text: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=text)]


def text() -> None:
    answer = chat().generate(asking(q.HELLO))
    equal(answer.content, q.GREETING)
    assert answer.token_usage


def stream() -> None:
    texts = [delta.content for delta in chat().generate_stream(asking(q.HELLO)) if delta.content]
    in_pieces(texts)


def tool_call() -> None:
    agent = ToolCallingAgent(tools=[tool(q.weather)], model=chat(), max_steps=3, verbosity_level=0)
    agent.run(q.FORECAST)
    first = agent.memory.steps[1]
    holds(first.observations, q.weather(**q.ARGUMENTS))


def structured() -> None:
    form = {
        "type": "json_schema",
        "json_schema": {"name": "place", "schema": SCHEMA, "strict": True},
    }
    answer = chat().generate(asking(q.PLACE), response_format=form)
    equal(json.loads(answer.content), q.PLACE_READ)


def server_tool() -> None:
    equal(chat(q.AGENT).generate(asking(q.COMMAND)).content, q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(q.MISSING).generate(asking(q.HELLO))), openai.NotFoundError)


def cancel() -> None:
    model = chat()
    deltas = model.generate_stream(asking(q.counting(__name__)))
    next(delta for delta in deltas if delta.content)
    deltas.close()
    model.client.close()  # the generator leaves its connection open
    check_cancelled(__name__)
