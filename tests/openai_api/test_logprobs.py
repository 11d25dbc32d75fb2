"""Each token of an answer is reported with the text that it spells, and no other token is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from agentlm.engine.protocol import Delta
from support.serving import Running, Serve
from support.tiny import Template

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
ALL = 1000


def together(running: Running, count: int) -> None:
    """Let the engine say so many tokens at a time, as a busy one does."""
    singly = running.engine.generate

    async def generate(*asked: Any, **options: Any) -> AsyncGenerator[Delta, None]:
        last_delta: Delta | None = None
        async with aclosing(singly(*asked, **options)) as deltas:
            async for delta in deltas:
                last_delta = delta if last_delta is None else joined(last_delta, delta)
                if len(last_delta.token_ids) == count or last_delta.finish_reason is not None:
                    yield last_delta
                    last_delta = None

    running.engine.generate = generate  # type: ignore[method-assign]


def joined(first: Delta, second: Delta) -> Delta:
    return replace(
        second,
        token_ids=[*first.token_ids, *second.token_ids],
        text=first.text + second.text,
        logprobs=[*first.logprobs, *second.logprobs],
    )


@pytest.mark.parametrize(
    ("template", "at_a_time"),
    [("chatml", 1), ("chatml", 2), ("chatml", ALL), ("llama2", 1), ("llama2", ALL)],
)
@pytest.mark.parametrize(
    ("reply", "fields", "content"),
    [
        ("Hello there.", {}, "Hello there."),
        ("Hello  there. \n \n", {}, "Hello  there."),
        ("  Hello. 你好 ", {}, "Hello. 你好"),
        ("One two STOP three", {"stop": "STOP"}, "One two"),
        ("One. ST.", {"stop": "STOP"}, "One. ST."),
        ("Thought: I know.\nFinal Answer: Done. ", {"tools": BASH}, "Done."),
    ],
)
async def test_tokens_come_with_their_text(
    serve: Serve,
    template: Template,
    reply: str,
    fields: dict[str, Any],
    content: str,
    at_a_time: int,
) -> None:
    async with serve(reply, reply, template=template) as running:
        together(running, at_a_time)
        asked: dict[str, Any] = {"model": "tiny", "messages": HI, "logprobs": True, **fields}
        whole = (await running.client.chat.completions.create(**asked)).choices[0]
        stream = await running.client.chat.completions.create(**asked, stream=True)
        text, spelt, tokens = "", b"", []
        async for chunk in stream:
            choice = chunk.choices[0]
            if choice.logprobs:
                tokens += choice.logprobs.content or []
                spelt = b"".join(bytes(token.bytes or ()) for token in tokens)
            text += choice.delta.content or ""
            assert spelt.decode(errors="ignore").strip().startswith(text)

        assert text == whole.message.content == content
        assert spelt.decode().strip() == content
        assert whole.logprobs is not None
        assert tokens == whole.logprobs.content


@pytest.mark.parametrize("stop", [None, " STOP"])
async def test_raw_text_keeps_its_space_and_its_tokens(serve: Serve, stop: str | None) -> None:
    reply, end = (" One two. ", "<|im_end|>") if stop is None else (" One two.  STOP three", "")
    async with serve(reply) as running:
        answer = await running.client.completions.create(
            model="tiny", prompt="Say", logprobs=0, stop=stop
        )
        [choice] = answer.choices
        assert choice.text == " One two. "
        assert choice.logprobs is not None
        assert "".join(choice.logprobs.tokens or ()) == f" One two. {end}"
