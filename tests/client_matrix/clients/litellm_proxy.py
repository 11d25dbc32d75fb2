"""LiteLLM's proxy, asked by OpenAI's package: what it is asked, it asks the server."""

from __future__ import annotations

import atexit
import json
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import openai
from openai import OpenAI

from client_matrix import questions as q
from client_matrix.checks import equal, error_of, holds, in_pieces, refused
from client_matrix.forecasts import forecast_by_items, forecast_by_messages

START_S = 150
MASTER_KEY = f"sk-{secrets.token_hex(32)}"
"""It does not start without one."""
CONFIG = {
    "model_list": [
        {
            "model_name": "*",
            "litellm_params": {"model": "openai/*", "api_base": q.URL, "api_key": q.KEY},
        }
    ],
    "router_settings": {"num_retries": 0},
    "general_settings": {"master_key": MASTER_KEY},
}


def started() -> str:
    """Its address, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    Path("config.yaml").write_text(json.dumps(CONFIG))
    command = [Path(sys.executable).with_name("litellm"), "--config", "config.yaml"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=sys.stderr
    )
    atexit.register(process.kill)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{url}/health/liveliness", timeout=10):
                return url
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the proxy did not start")


client = OpenAI(base_url=started(), api_key=MASTER_KEY, max_retries=0)


def ask(content: str | list[Any], model: str = q.MODEL, **options: Any) -> Any:
    if q.WIRE == "responses":
        return client.responses.create(model=model, input=content, **options)
    messages = q.asking(content) if isinstance(content, str) else content
    return client.chat.completions.create(model=model, messages=messages, **options)


def words(answer: Any) -> str:
    """Of an answer over either wire."""
    if q.WIRE == "responses":
        return answer.output_text
    return answer.choices[0].message.content


def piece(event: Any) -> str:
    """Of the text, that one event of a stream brings."""
    if q.WIRE == "responses":
        return event.delta if event.type == "response.output_text.delta" else ""
    return (event.choices[0].delta.content if event.choices else None) or ""


def text() -> None:
    answer = ask(q.HELLO)
    equal(words(answer), q.GREETING)
    assert answer.usage.total_tokens > 0


def stream() -> None:
    in_pieces([piece(event) for event in ask(q.HELLO, stream=True)])


def tool_call() -> None:
    if q.WIRE == "responses":
        forecast_by_items(ask)
    else:
        forecast_by_messages(ask)


def structured() -> None:
    if q.WIRE == "responses":
        answer = client.responses.parse(model=q.MODEL, input=q.PLACE, text_format=q.Place)
        equal(answer.output_parsed, q.Place(**q.PLACE_READ))
        return
    completion = client.chat.completions.parse(
        model=q.MODEL, messages=q.asking(q.PLACE), response_format=q.Place
    )
    equal(completion.choices[0].message.parsed, q.Place(**q.PLACE_READ))


def server_tool() -> None:
    equal(words(ask(q.COMMAND, tools=[q.BASH])), q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: ask(q.HELLO, q.MISSING)), openai.NotFoundError)
    too_long = error_of(lambda: ask(q.TOO_LONG))
    assert isinstance(too_long, openai.BadRequestError), repr(too_long)[:300]
    holds(too_long, "maximum context length")
