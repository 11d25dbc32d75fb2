"""DSPy's `LM`, alone and under its modules."""

from __future__ import annotations

import dspy

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, in_pieces, refused


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


class Ask(dspy.Module):
    def forward(self, question: str) -> dspy.Prediction:
        return dspy.Prediction(answer=answer_text(dspy.settings.lm(question)))


def answer_text(answers: list) -> str:
    """Over the Responses API, and with thoughts, an answer is a dictionary."""
    [answer] = answers
    return answer if isinstance(answer, str) else answer["text"]


def lm(model: str = q.MODEL) -> dspy.LM:
    return Capable(
        f"openai/{model}",
        model_type=q.WIRE,
        api_base=q.URL,
        api_key=q.KEY,
        cache=False,
        num_retries=0,
    )


def text() -> None:
    equal(answer_text(lm()(q.HELLO)), q.GREETING)


async def stream() -> None:
    ask = dspy.streamify(Ask())
    with dspy.context(lm=lm()):
        parts = [part async for part in ask(question=q.HELLO)]
    in_pieces([part.choices[0].delta.content or "" for part in parts[:-1]])
    equal(parts[-1].answer, q.GREETING)


def structured() -> None:
    with dspy.context(lm=lm(), adapter=dspy.JSONAdapter()):
        answer = dspy.Predict(Place)(text=q.PLACE)
    equal({"name": answer.name, "rivers": answer.rivers}, q.PLACE_READ)


def tool_call() -> None:
    adapter = dspy.JSONAdapter(use_native_function_calling=True)

    class Forecast(dspy.Signature):
        question: str = dspy.InputField()
        tools: list[dspy.Tool] = dspy.InputField()
        calls: dspy.ToolCalls = dspy.OutputField()

    with dspy.context(lm=lm(), adapter=adapter):
        answer = dspy.Predict(Forecast)(question=q.FORECAST, tools=[dspy.Tool(q.weather)])
    [call] = answer.calls.tool_calls
    equal((call.name, call.args), ("weather", q.ARGUMENTS))


def server_tool() -> None:
    equal(answer_text(lm(q.AGENT)(q.COMMAND)), q.COMMAND_ANSWER)


def error() -> None:
    failure = error_of(lambda: lm(q.MISSING)(q.HELLO))
    refused(failure, dspy.LMError)


async def cancel() -> None:
    await check_cancels(lm().acall(q.counting(__name__)), __name__)
