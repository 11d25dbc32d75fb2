"""Simon Willison's `llm`, by its `extra-openai-models.yaml`."""

from __future__ import annotations

import json
from pathlib import Path

import llm
import openai
import yaml

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, holds, in_pieces, refused


def register() -> None:
    entries = [
        {
            "model_id": f"our-{name}",
            "model_name": name,
            "api_base": q.URL,
            "responses": q.WIRE == "responses",
            "supports_schema": True,
            "supports_tools": True,
        }
        for name in (q.MODEL, q.AGENT, q.MISSING)
    ]
    Path(llm.user_dir(), "extra-openai-models.yaml").write_text(yaml.safe_dump(entries))


def chat(model: str = q.MODEL) -> llm.Model:
    register()
    return llm.get_model(f"our-{model}")


def text() -> None:
    equal(chat().prompt(q.HELLO, stream=False).text(), q.GREETING)


def stream() -> None:
    texts = list(chat().prompt(q.HELLO))
    in_pieces(texts)


def tool_call() -> None:
    calls: list[object] = []
    chain = chat().chain(
        q.FORECAST,
        tools=[q.weather],
        before_call=lambda tool, call: calls.append(call.arguments),
    )
    holds(chain.text(), q.FORECAST_ANSWER)
    equal(calls, [q.ARGUMENTS])


def structured() -> None:
    equal(json.loads(chat().prompt(q.PLACE, schema=q.Place).text()), q.PLACE_READ)


def server_tool() -> None:
    equal(chat(q.AGENT).prompt(q.COMMAND).text(), q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(q.MISSING).prompt(q.HELLO).text()), openai.NotFoundError)


async def cancel() -> None:
    register()
    model = llm.get_async_model(f"our-{q.MODEL}")
    # A stream that is cancelled leaves its connection open. Over Responses it has none kept.
    asked = model.prompt(q.counting(__name__), stream=False).text()
    await check_cancels(asked, __name__, kept=q.WIRE == "chat")
