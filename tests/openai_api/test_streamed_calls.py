"""Calls of a client's tools on a stream: told as they are generated, and forced ones unthought."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlm.prompt.grammar import ControlEscaper, read_arguments
from support.serving import Running, Serve
from support.tiny import tiny_renderer

LOOKUP: Any = {
    "type": "function",
    "function": {
        "name": "lookup",
        "parameters": {"type": "object", "properties": {"key": {"type": "string"}}},
    },
}
FORCED: Any = {"type": "function", "function": {"name": "lookup"}}
THOUGHT = "Thought: I look.\n"
CALL = 'Action: lookup\nAction Input: {"key": "open \\"it\\""}'


async def stream(running: Running, **fields: Any) -> list[Any]:
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [LOOKUP],
        "stream": True,
        **fields,
    }
    events = await running.client.chat.completions.create(**asked)
    return [event async for event in events]


async def test_arguments_come_as_they_are_generated(serve: Serve) -> None:
    async with serve(THOUGHT + CALL) as running:
        chunks = await stream(running)

        calls = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
        assert (calls[0].function.name, calls[0].function.arguments) == ("lookup", "")
        assert len(calls) > 4
        assert "".join(c.function.arguments for c in calls) == '{"key": "open \\"it\\""}'
        assert {c.index for c in calls} == {0}
        step = running.trajectories()[0].steps[-1]
        assert step.call is not None
        assert calls[0].id == step.call.id
        assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_a_stream_that_begins_with_a_call_does_not_begin_with_text(serve: Serve) -> None:
    async with serve(CALL) as running:
        chunks = await stream(running, tool_choice=FORCED)

        first = chunks[0].choices[0].delta
        assert (first.role, first.content) == ("assistant", None)
        assert first.tool_calls[0].function.name == "lookup"


async def test_what_nothing_holds_to_its_form_is_told_when_it_is_whole(serve: Serve) -> None:
    async with serve(THOUGHT + CALL) as running:
        chunks = await stream(running, extra_body={"constrained": False})

        calls = [c.choices[0].delta.tool_calls for c in chunks if c.choices[0].delta.tool_calls]
        assert [json.loads(call[0].function.arguments) for call in calls] == [{"key": 'open "it"'}]


async def test_what_is_cut_within_its_name_is_no_call(serve: Serve) -> None:
    tokens = len(tiny_renderer("chatml").content.encode(CALL.partition("up")[0]))
    async with serve(CALL) as running:
        chunks = await stream(running, tool_choice=FORCED, max_tokens=tokens)

        assert not any(chunk.choices[0].delta.tool_calls for chunk in chunks)
        assert chunks[-1].choices[0].finish_reason == "length"


async def test_chunks_before_the_last_have_no_usage_yet(serve: Serve) -> None:
    async with serve("Thought: I know.\nFinal Answer: Done.") as running:
        chunks = await stream(running, stream_options={"include_usage": True})

        *others, last = (chunk.to_dict() for chunk in chunks)
        assert {chunk["usage"] for chunk in others} == {None}
        assert last["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, True),
        ({"tool_choice": "required"}, False),
        ({"tool_choice": FORCED}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "high"}, True),
    ],
)
async def test_a_forced_call_begins_without_a_thought(
    serve: Serve, fields: dict[str, Any], thinks: bool
) -> None:
    async with serve(CALL) as running:
        await stream(running, **fields)

        constraint = running.engine.requests[0].constraint
        assert constraint is not None
        assert ("Thought: " in str(constraint.structural_tag)) is thinks


async def test_thoughts_and_calls_are_counted_apart(serve: Serve) -> None:
    async with serve(THOUGHT + CALL, CALL) as running:
        usages = []
        for fields in ({}, {"tool_choice": FORCED}):
            chunks = await stream(running, stream_options={"include_usage": True}, **fields)
            usages.append(chunks[-1].usage)

        thought, forced = (u.completion_tokens_details.reasoning_tokens for u in usages)
        assert thought == len(running.served.renderer.content.encode(THOUGHT.rstrip()))
        assert forced == 0


@given(st.dictionaries(st.text(), st.text()), st.data())
def test_parts_are_escaped_as_the_whole_is(value: dict[str, str], data: st.DataObject) -> None:
    raw = json.dumps(value, ensure_ascii=False, indent=1).replace("\\n", "\n").replace("\\t", "\t")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    escaper = ControlEscaper()
    parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    escaped = "".join(map(escaper.feed, parts))

    whole, error = read_arguments(raw)
    if error is None:
        assert json.loads(escaped) == json.loads(whole)
