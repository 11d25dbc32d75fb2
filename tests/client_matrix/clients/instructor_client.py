"""Instructor around OpenAI's package, in each of its ways to ask for an object."""

from __future__ import annotations

from typing import Any

import instructor
from instructor.core.exceptions import InstructorRetryException
from openai import AsyncOpenAI, OpenAI

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, refused

MODES = {
    "chat": (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA),
    "responses": (instructor.Mode.RESPONSES_TOOLS,),
}


def chat(mode: instructor.Mode | None = None) -> Any:
    client = OpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)
    return instructor.from_openai(client, mode=mode or MODES[q.WIRE][0]).chat.completions


def answer_text(answer: Any) -> str:
    return answer.choices[0].message.content if q.WIRE == "chat" else answer.output_text


def asking(text: str, model: str = q.MODEL, form: Any = None) -> dict[str, Any]:
    return {"model": model, "messages": q.asking(text), "response_model": form}


def text() -> None:
    equal(answer_text(chat().create(**asking(q.HELLO))), q.GREETING)


def stream() -> None:
    parts = list(chat().create_partial(**asking(q.PLACE, form=q.Place)))
    equal(parts[-1].model_dump(), q.PLACE_READ)
    assert len(parts) > 2, "it came in one piece"


def tool_call() -> None:
    places = chat().create_iterable(**asking(q.PLACE, form=q.Place))
    equal([place.model_dump() for place in places], [q.PLACE_READ])


def structured() -> None:
    for mode in MODES[q.WIRE]:
        equal(chat(mode).create(**asking(q.PLACE, form=q.Place)).model_dump(), q.PLACE_READ)


def server_tool() -> None:
    equal(answer_text(chat().create(**asking(q.COMMAND, q.AGENT))), q.COMMAND_ANSWER)


def error() -> None:
    failure = error_of(lambda: chat().create(**asking(q.PLACE, q.MISSING, q.Place)))
    refused(failure, InstructorRetryException)


async def cancel() -> None:
    waiting = AsyncOpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)
    client = instructor.from_openai(waiting, mode=MODES[q.WIRE][0])
    asked = client.chat.completions.create(**asking(q.counting(__name__)))
    await check_cancels(asked, __name__)
