"""Outlines' `from_openai`."""

from __future__ import annotations

import json
from typing import Any

import openai
import outlines
import outlines.exceptions

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, in_pieces, refused

client = openai.OpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)


def model(name: str = q.MODEL) -> Any:
    return outlines.from_openai(client, name)


def text() -> None:
    equal(model()(q.HELLO), q.GREETING)


def stream() -> None:
    texts = [text for text in model().stream(q.HELLO) if text]
    in_pieces(texts)


def structured() -> None:
    equal(json.loads(model()(q.PLACE, q.Place)), q.PLACE_READ)


def server_tool() -> None:
    equal(model()(q.COMMAND, tools=[q.BASH]), q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: model(q.MISSING)(q.HELLO)), outlines.exceptions.NotFoundError)


async def cancel() -> None:
    waiting = openai.AsyncOpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)
    asked = outlines.from_openai(waiting, q.MODEL)(q.counting(__name__))
    await check_cancels(asked, __name__)
