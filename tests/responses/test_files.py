"""Text files in messages: what they say is what the model reads."""

from __future__ import annotations

import base64
from typing import Any

import openai
import pytest

from support.serving import Serve

PNG = b"\x89PNG\r\n\x1a\n"


def data(content: bytes) -> str:
    return f"data:text/plain;base64,{base64.b64encode(content).decode()}"


def saying(**file: Any) -> list[Any]:
    parts = [{"type": "input_text", "text": "Sum it up:\n"}, {"type": "input_file", **file}]
    return [{"role": "user", "content": parts}]


async def test_what_a_file_says_is_read_to_the_model(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.") as running:
        client = running.client
        kept = await client.files.create(file=("a.txt", b"Four rivers."), purpose="user_data")
        await client.responses.create(model="tiny", input=saying(file_id=kept.id))
        inline = saying(file_data=data(b"Five rivers."), filename="b.txt")
        await client.responses.create(model="tiny", input=inline)
        named = await client.conversations.create(items=inline)
        await client.responses.create(model="tiny", conversation=named.id)
        prompts = [
            running.served.renderer.decode_verbatim(asked.prompt_ids)
            for asked in running.engine.requests
        ]

    assert "Sum it up:\nFile a.txt:\nFour rivers." in prompts[0]
    assert "Sum it up:\nFile b.txt:\nFive rivers." in prompts[1]
    assert prompts[2] == prompts[1]


@pytest.mark.parametrize(
    ("file", "param", "words"),
    [
        ({"file_data": data(PNG)}, ".file_data", "only text files"),
        ({"file_data": "not base64!"}, ".file_data", "base64"),
        ({"file_id": "file-" + "0" * 32}, ".file_id", "no file"),
        ({"file_id": 7}, ".file_id", "string"),
        ({"file_url": "http://localhost/"}, "", "file_id or file_data"),
        ({}, "", "file_id or file_data"),
    ],
)
async def test_what_is_no_text_file_is_refused_by_name(
    serve: Serve, file: Any, param: str, words: str
) -> None:
    async with serve() as running:
        with pytest.raises(openai.APIStatusError) as caught:
            await running.client.responses.create(model="tiny", input=saying(**file))
        assert caught.value.param == f"input[0].content[1]{param}"
        assert words in caught.value.message
        assert running.engine.requests == []
