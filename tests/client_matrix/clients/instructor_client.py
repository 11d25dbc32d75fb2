"""Instructor around OpenAI's package, in each of its ways to ask for an object."""

from __future__ import annotations

import asyncio
from typing import Any

import instructor
from instructor.core.exceptions import InstructorRetryException
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from client_matrix.questions import (
    AGENT,
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
    check_cancelled,
    counting,
    equal,
    error_of,
    refused,
)

MODES = (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA)


class Place(BaseModel):
    """A place."""

    name: str
    rivers: int


def asking(text: str) -> Any:
    return [{"role": "user", "content": text}]


def chat(mode: instructor.Mode = instructor.Mode.TOOLS) -> Any:
    client = OpenAI(base_url=URL, api_key=KEY, max_retries=0)
    return instructor.from_openai(client, mode=mode).chat.completions


def text() -> None:
    answer = chat().create(model=MODEL, messages=asking(HELLO), response_model=None)
    equal(answer.choices[0].message.content, GREETING)


def server_tool() -> None:
    answer = chat().create(model=AGENT, messages=asking(COMMAND), response_model=None)
    equal(answer.choices[0].message.content, COMMAND_ANSWER)


def structured() -> None:
    for mode in MODES:
        answer = chat(mode).create(model=MODEL, messages=asking(PLACE), response_model=Place)
        equal(answer.model_dump(), PLACE_READ)


def stream() -> None:
    parts = list(chat().create_partial(model=MODEL, messages=asking(PLACE), response_model=Place))
    equal(parts[-1].model_dump(), PLACE_READ)
    assert len(parts) > 2, "it came in one piece"


def tool_call() -> None:
    places = chat().create_iterable(model=MODEL, messages=asking(PLACE), response_model=Place)
    equal([place.model_dump() for place in places], [PLACE_READ])


def error() -> None:
    failure = error_of(
        lambda: chat().create(model=MISSING, messages=asking(PLACE), response_model=Place)
    )
    refused(failure, InstructorRetryException)


async def cancel() -> None:
    client = instructor.from_openai(AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0))
    asked = client.chat.completions.create(
        model=MODEL, messages=asking(counting(__name__)), response_model=None
    )
    task = asyncio.create_task(asked)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
