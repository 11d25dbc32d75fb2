"""OpenAI's own package over the Responses API."""

from __future__ import annotations

import json

import openai
from openai import OpenAI

from client_matrix import questions as q
from client_matrix.checks import check_cancelled, equal, error_of, holds, in_pieces, refused

responses = OpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0).responses


def text() -> None:
    answer = responses.create(model=q.MODEL, input=q.HELLO)
    equal(answer.output_text, q.GREETING)
    equal(responses.retrieve(answer.id).output_text, q.GREETING)
    again = responses.create(model=q.MODEL, input=q.HELLO, previous_response_id=answer.id)
    equal(again.output_text, q.GREETING)


def stream() -> None:
    with responses.stream(model=q.MODEL, input=q.HELLO) as events:
        texts = [event.delta for event in events if event.type == "response.output_text.delta"]
        equal(events.get_final_response().output_text, q.GREETING)
    in_pieces(texts)


def tool_call() -> None:
    asked = responses.create(model=q.MODEL, input=q.FORECAST, tools=[q.FUNCTION])
    [call] = [item for item in asked.output if item.type == "function_call"]
    arguments = json.loads(call.arguments)
    equal((call.name, arguments), ("weather", q.ARGUMENTS))
    output = q.weather(**arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": output}
    items = [*q.asking(q.FORECAST), *asked.output, result]
    answer = responses.create(model=q.MODEL, input=items, tools=[q.FUNCTION])
    equal(answer.output_text, q.FORECAST_ANSWER)


def structured() -> None:
    answer = responses.parse(model=q.MODEL, input=q.PLACE, text_format=q.Place)
    equal(answer.output_parsed, q.Place(**q.PLACE_READ))


def server_tool() -> None:
    answer = responses.create(model=q.MODEL, input=q.COMMAND, tools=[q.BASH])
    equal(answer.output_text, q.COMMAND_ANSWER)
    [call] = [item for item in answer.output if item.type == "mcp_call"]
    equal((call.server_label, call.name, call.output), ("agentlm", "bash", "ran ls"))


def error() -> None:
    refused(
        error_of(lambda: responses.create(model=q.MISSING, input=q.HELLO)), openai.NotFoundError
    )
    too_long = error_of(lambda: responses.create(model=q.MODEL, input=q.TOO_LONG))
    equal(getattr(too_long, "code", None), "context_length_exceeded")
    holds(too_long, "maximum context length")


def cancel() -> None:
    counting = q.counting(__name__)
    with responses.create(model=q.MODEL, input=counting, stream=True) as events:
        next(event for event in events if event.type == "response.output_text.delta")
    check_cancelled(__name__)
