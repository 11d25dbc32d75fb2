"""OpenAI's own package."""

from __future__ import annotations

import openai
from openai import OpenAI

from client_matrix import questions as q
from client_matrix.checks import check_cancelled, equal, error_of, holds, in_pieces, refused
from client_matrix.forecasts import forecast_by_messages

chat = OpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0).chat.completions


def text() -> None:
    answer = chat.create(model=q.MODEL, messages=q.asking(q.HELLO))
    equal(answer.choices[0].message.content, q.GREETING)
    equal(answer.choices[0].finish_reason, "stop")
    assert answer.usage
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)


def stream() -> None:
    chunks = list(
        chat.create(
            model=q.MODEL,
            messages=q.asking(q.HELLO),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    deltas = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    texts = [delta for delta in deltas if delta]
    in_pieces(texts)
    assert chunks[-1].usage


def tool_call() -> None:
    forecast_by_messages(lambda said, tools: chat.create(model=q.MODEL, messages=said, tools=tools))


def structured() -> None:
    answer = chat.parse(model=q.MODEL, messages=q.asking(q.PLACE), response_format=q.Place)
    equal(answer.choices[0].message.parsed, q.Place(**q.PLACE_READ))


def server_tool() -> None:
    answer = chat.create(model=q.MODEL, messages=q.asking(q.COMMAND), tools=[q.BASH])
    equal(answer.choices[0].message.content, q.COMMAND_ANSWER)


def error() -> None:
    missing = error_of(lambda: chat.create(model=q.MISSING, messages=q.asking(q.HELLO)))
    refused(missing, openai.NotFoundError)
    too_long = error_of(lambda: chat.create(model=q.MODEL, messages=q.asking(q.TOO_LONG)))
    equal(getattr(too_long, "code", None), "context_length_exceeded")
    holds(too_long, "maximum context length")


def cancel() -> None:
    with chat.create(model=q.MODEL, messages=q.asking(q.counting(__name__)), stream=True) as chunks:
        next(chunk for chunk in chunks if chunk.choices[0].delta.content)
    check_cancelled(__name__)
