"""Outlines' `from_openai`."""

from __future__ import annotations

import json
from typing import Any

import openai
import outlines
from pydantic import BaseModel

from client_matrix.questions import (
    BASH,
    COMMAND,
    COMMAND_ANSWER,
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
)


class Place(BaseModel):
    name: str
    rivers: int


client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)


def model(name: str = MODEL) -> Any:
    return outlines.from_openai(client, name)


def text() -> None:
    equal(model()(HELLO), GREETING)


def stream() -> None:
    texts = [text for text in model().stream(HELLO) if text]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"


def structured() -> None:
    equal(json.loads(model()(PLACE, Place)), PLACE_READ)


def server_tool() -> None:
    equal(model()(COMMAND, tools=[BASH]), COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: model(MISSING)(HELLO)), Exception)
