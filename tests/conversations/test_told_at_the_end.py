"""An engine may keep a turn for its end, where nobody reads along and nothing can cut it short."""

from __future__ import annotations

from typing import Any

import pytest

from support.serving import Serve

ANSWER = "Thought: I know.\nFinal Answer: Done."


@pytest.mark.parametrize(
    ("fields", "whole"),
    [
        ({}, True),
        ({"stream": True}, False),
        ({"stop": "Done"}, False),
        ({"extra_body": {"tools": [{"type": "bash"}]}}, True),
        ({"extra_body": {"tools": [{"type": "bash"}], "constrained": False}}, False),
    ],
)
async def test_a_turn_is_told_at_its_end(serve: Serve, fields: dict[str, Any], whole: bool) -> None:
    async with serve(ANSWER) as running:
        answer = await running.client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hi"}], **fields
        )
        if fields.get("stream"):
            async for _ in answer:
                pass

        assert running.engine.requests[0].whole is whole


async def test_a_raw_completion_is_told_at_its_end(serve: Serve) -> None:
    async with serve("and on", "and on") as running:
        for stream in (True, False):
            async with running.client.completions.with_streaming_response.create(
                model="tiny", prompt="It goes on", max_tokens=4, stream=stream
            ) as response:
                await response.read()

        assert [asked.whole for asked in running.engine.requests] == [False, True]
