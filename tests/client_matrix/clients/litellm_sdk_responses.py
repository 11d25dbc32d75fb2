"""LiteLLM's SDK over the Responses API."""

from __future__ import annotations

import json
from typing import Any

import litellm

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, in_pieces, refused
from client_matrix.forecasts import forecast_by_items

litellm.telemetry = False


def ask(content: str | list[Any], model: str = q.MODEL, **options: Any) -> Any:
    return litellm.responses(
        input=content,
        model=f"openai/{model}",
        api_base=q.URL,
        api_key=q.KEY,
        max_retries=0,
        **options,
    )


def text() -> None:
    answer = ask(q.HELLO)
    equal(answer.output_text, q.GREETING)
    assert answer.usage.output_tokens > 0


def stream() -> None:
    events = list(ask(q.HELLO, stream=True))
    in_pieces([event.delta for event in events if event.type == "response.output_text.delta"])
    equal(events[-1].response.output_text, q.GREETING)


def tool_call() -> None:
    forecast_by_items(ask)


def structured() -> None:
    equal(json.loads(ask(q.PLACE, text_format=q.Place).output_text), q.PLACE_READ)


def server_tool() -> None:
    equal(ask(q.COMMAND, tools=[q.BASH]).output_text, q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: ask(q.HELLO, q.MISSING)), litellm.NotFoundError)
    too_long = error_of(lambda: ask(q.TOO_LONG))
    assert isinstance(too_long, litellm.ContextWindowExceededError), repr(too_long)[:300]


async def cancel() -> None:
    asked = litellm.aresponses(
        input=q.counting(__name__), model=f"openai/{q.MODEL}", api_base=q.URL, api_key=q.KEY
    )
    await check_cancels(asked, __name__)
