"""A body of very many values is refused before it is read; text may be of whatever it likes."""

from __future__ import annotations

from typing import Any

import httpx

from support.serving import Running, Serve

CHAT = "/v1/chat/completions"
HI = b'"messages":[{"role":"user","content":"Hi"}]'
FUNCTION = b'{"type":"function","function":{"name":"f","parameters":{"a":%s}}}'
TOO_MANY = "at most 500000 items and 100000 lists, objects and keys"


async def post(running: Running, body: bytes, path: str = CHAT) -> tuple[int, Any]:
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
        answer = await client.post(path, content=body, headers=headers)
    return answer.status_code, answer.json().get("error")


def chat(fields: bytes) -> bytes:
    return b'{"model":"tiny",%s,%s}' % (HI, fields)


def listed(value: bytes, times: int) -> bytes:
    return b"[" + b",".join([value] * times) + b"]"


async def test_too_many_values_are_refused_unread(serve: Serve) -> None:
    pairs = b",".join(b'"%d":"a"' % key for key in range(100_001))
    bodies = {
        "lists": listed(b"[]", 100_001),
        "objects": chat(b'"tools":[%s]' % (FUNCTION % listed(b"{}", 100_001))),
        "items": chat(b'"stop":%s' % listed(b"1", 500_010)),
        "keys": chat(b'"metadata":{%s}' % pairs),
        "behind an escape": chat(rb'"user":"\\","stop":%s' % listed(b"1", 500_010)),
    }
    async with serve() as running:
        for kind, body in bodies.items():
            status, error = await post(running, body)

            assert (status, error["type"]) == (400, "invalid_request_error"), kind
            assert TOO_MANY in error["message"], kind


async def test_a_field_with_too_much_in_it_is_named(serve: Serve) -> None:
    pairs = b",".join(b'"%d":1' % key for key in range(90_000))
    bodies = {
        "messages": b'{"model":"tiny","messages":%s}' % listed(b'{"role":"user"}', 20_000),
        "tools": chat(b'"tools":%s' % listed(b'{"type":"bash"}', 2_000)),
        "tools[0].file_ids": chat(
            b'"tools":[{"type":"bash","file_ids":%s}]' % listed(b'"a"', 2_000)
        ),
        "stop": chat(b'"stop":"%s"' % (b"a" * 257)),
        "modalities[0]": chat(b'"modalities":%s' % listed(b"1", 400_000)),
        "metadata.0": chat(b'"metadata":{%s}' % pairs),
        "a" * 64: chat(b'"%s":1' % (b"a" * 1_000_000)),
    }
    async with serve() as running:
        for param, body in bodies.items():
            status, error = await post(running, body)

            assert (status, error["param"]) == (400, param)
            assert len(error["message"]) < 300
        status, error = await post(running, bodies["messages"], "/tokenize")
        assert (status, error["param"]) == (400, "messages")


async def test_too_deep_values_are_refused(serve: Serve) -> None:
    async with serve() as running:
        for deep in (b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300):
            status, error = await post(running, chat(b'"tools":[%s]' % (FUNCTION % deep)))

            assert status == 400
            assert "recursion limit" in error["message"]


async def test_what_a_text_is_made_of_does_not_count(serve: Serve) -> None:
    text = b'[{,:\\"\\\\' * 200_000
    async with serve("Hello.") as running:
        status, error = await post(running, chat(b'"user":"%s"' % text))

        assert (status, error) == (200, None)
        assert len(running.trajectories()[0].metadata["user"]) == 6 * 200_000


async def test_deep_arguments_in_a_history_are_text_too(serve: Serve) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "[" * 5_000}}
    history: Any = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]
    async with serve("Hello.") as running:
        answer = await running.client.chat.completions.create(model="tiny", messages=history)

        assert answer.choices[0].message.content == "Hello."
