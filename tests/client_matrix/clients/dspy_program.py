"""DSPy's `LM`, alone and under its modules."""

from __future__ import annotations

import dspy

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
    equal,
    error_of,
    refused,
    weather,
)


class Place(dspy.Signature):
    """Read a place."""

    text: str = dspy.InputField()
    name: str = dspy.OutputField()
    rivers: int = dspy.OutputField()


class Capable(dspy.LM):
    """DSPy takes a model that its catalogue lacks for one that can do nothing."""

    supports_response_schema = True
    supports_function_calling = True
    supported_params = frozenset({"response_format", "tools", "tool_choice"})


def lm(model: str = MODEL) -> dspy.LM:
    return Capable(f"openai/{model}", api_base=URL, api_key=KEY, cache=False, num_retries=0)


def text() -> None:
    equal(lm()(HELLO), [GREETING])


def structured() -> None:
    with dspy.context(lm=lm(), adapter=dspy.JSONAdapter()):
        answer = dspy.Predict(Place)(text=PLACE)
    equal({"name": answer.name, "rivers": answer.rivers}, PLACE_READ)


def tool_call() -> None:
    adapter = dspy.JSONAdapter(use_native_function_calling=True)

    class Forecast(dspy.Signature):
        question: str = dspy.InputField()
        tools: list[dspy.Tool] = dspy.InputField()
        calls: dspy.ToolCalls = dspy.OutputField()

    with dspy.context(lm=lm(), adapter=adapter):
        answer = dspy.Predict(Forecast)(question=FORECAST, tools=[dspy.Tool(weather)])
    [call] = answer.calls.tool_calls
    equal((call.name, set(call.args)), ("weather", set(ARGUMENTS)))


def server_tool() -> None:
    [answer] = lm(AGENT)(COMMAND)
    equal(answer["text"], COMMAND_ANSWER)


def error() -> None:
    failure = error_of(lambda: lm(MISSING)(HELLO))
    refused(failure, Exception)
