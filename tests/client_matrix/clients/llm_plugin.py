"""Simon Willison's `llm`, by its `extra-openai-models.yaml`."""

from __future__ import annotations

import json
from pathlib import Path

import llm
import openai
import yaml
from pydantic import BaseModel

from client_matrix.questions import (
    AGENT,
    ARGUMENTS,
    COMMAND,
    COMMAND_ANSWER,
    FORECAST,
    FORECAST_ANSWER,
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
    holds,
    refused,
    weather,
)


class Place(BaseModel):
    name: str
    rivers: int


def chat(model: str = MODEL) -> llm.Model:
    entries = [
        {
            "model_id": f"our-{name}",
            "model_name": name,
            "api_base": URL,
            "supports_schema": True,
            "supports_tools": True,
        }
        for name in (MODEL, AGENT, MISSING)
    ]
    Path(llm.user_dir(), "extra-openai-models.yaml").write_text(yaml.safe_dump(entries))
    found = llm.get_model(f"our-{model}")
    found.key = KEY
    return found


def text() -> None:
    equal(chat().prompt(HELLO, stream=False).text(), GREETING)


def stream() -> None:
    texts = list(chat().prompt(HELLO))
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"


def tool_call() -> None:
    calls: list[object] = []
    chain = chat().chain(
        FORECAST,
        tools=[weather],
        before_call=lambda tool, call: calls.append(call.arguments),
    )
    holds(chain.text(), FORECAST_ANSWER)
    equal(calls, [ARGUMENTS])


def structured() -> None:
    equal(json.loads(chat().prompt(PLACE, schema=Place).text()), PLACE_READ)


def server_tool() -> None:
    equal(chat(AGENT).prompt(COMMAND).text(), COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(MISSING).prompt(HELLO).text()), openai.NotFoundError)
