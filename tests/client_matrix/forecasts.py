"""The forecast, for clients that are handed the API's own words: the call of a function, its result
sent back, the answer that uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from client_matrix import questions as q
from client_matrix.checks import equal


def forecast_by_messages(ask: Callable[..., Any]) -> None:
    """Over chat, by `ask(messages, tools=…)`."""
    messages = q.asking(q.FORECAST)
    message = ask(messages, tools=[q.TOOL]).choices[0].message
    [call] = message.tool_calls
    output = weather_of(call.function)
    result = {"role": "tool", "tool_call_id": call.id, "content": output}
    answer = ask([*messages, message, result], tools=[q.TOOL])
    equal(answer.choices[0].message.content, q.FORECAST_ANSWER)


def forecast_by_items(ask: Callable[..., Any]) -> None:
    """Over Responses, by `ask(input, tools=…, previous_response_id=…)`."""
    asked = ask(q.FORECAST, tools=[q.FUNCTION])
    [call] = [item for item in asked.output if item.type == "function_call"]
    output = weather_of(call)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": output}
    answer = ask([result], tools=[q.FUNCTION], previous_response_id=asked.id)
    equal(answer.output_text, q.FORECAST_ANSWER)


def weather_of(call: Any) -> str:
    """What the function that is called gives."""
    arguments = json.loads(call.arguments)
    equal((call.name, arguments), ("weather", q.ARGUMENTS))
    return q.weather(**arguments)
