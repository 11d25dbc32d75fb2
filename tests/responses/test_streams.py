"""A streamed response: every event by its type, in order, and the same answer as the whole one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from agentlm.errors import RequestError, UnavailableError
from agentlm.trajectory import Outcome
from support.serving import Running, Search, Serve
from support.tiny import tiny_renderer

BASH: Any = {"type": "bash"}
LOOKUP: Any = {"type": "function", "name": "lookup", "parameters": {}, "strict": False}
BASH_CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FAILING_CALL = BASH_CALL.replace("ls", "fail")
HANGING_CALL = BASH_CALL.replace("ls", "hang")
CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
SEARCH = 'Thought: I search.\nAction: web_search\nAction Input: {"query": "cats"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
LOGPROBS = ["message.output_text.logprobs"]


async def stream(running: Running, **fields: Any) -> list[dict[str, Any]]:
    """The events as they came, each checked strictly against the openai package's type."""
    async with httpx.AsyncClient() as client:
        body = {"model": "tiny", "input": "Hi", "stream": True, **fields}
        answer = await client.post(f"{running.url}/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    blocks = [block for block in answer.text.split("\n\n") if block]
    assert blocks.pop() == "data: [DONE]"
    events = []
    for number, block in enumerate(blocks):
        name, _, data = block.partition("\n")
        event = json.loads(data.removeprefix("data: "))
        assert (name, event["sequence_number"]) == (f"event: {event['type']}", number)
        kind: Any = ResponseStreamEvent
        TypeAdapter(kind).validate_json(data.removeprefix("data: "), strict=True)
        events.append(event)
    return events


def names(events: list[dict[str, Any]]) -> list[str]:
    """Types in order, each delta once."""
    short = [event["type"].removeprefix("response.") for event in events]
    return [
        name
        for name, before in zip(short, [None, *short], strict=False)
        if not (name.endswith("delta") and name == before)
    ]


async def test_a_summary_is_told_in_its_own_events(serve: Serve) -> None:
    async with serve(CALL) as running:
        events = await stream(running, tools=[LOOKUP], reasoning={"summary": "auto"})

    part, text = "reasoning_summary_part", "reasoning_summary_text"
    expected = [f"{part}.added", f"{text}.delta", f"{text}.done", f"{part}.done"]
    items = ["output_item.added", *expected, "output_item.done", *item("function_call")]
    assert names(events) == ["created", "in_progress", *items, "completed"]
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done


TEXT = ["content_part.added", "{0}.delta", "{0}.done", "content_part.done"]


def item(kind: str) -> list[str]:
    inner = [name.format(kind) for name in TEXT]
    if kind == "function_call":
        inner = ["function_call_arguments.delta", "function_call_arguments.done"]
    elif kind == "mcp_call":
        inner = ["mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done"]
        inner.append("mcp_call.completed")
    elif kind == "web_search_call":
        inner = [f"web_search_call.{name}" for name in ("in_progress", "searching", "completed")]
    return ["output_item.added", *inner, "output_item.done"]


@pytest.mark.parametrize(
    ("replies", "items", "last"),
    [
        (["Hello there."], ["output_text"], "completed"),
        ([FINAL], ["reasoning_text", "output_text"], "completed"),
        ([CALL], ["reasoning_text", "function_call"], "completed"),
        (
            [BASH_CALL, SEARCH, FINAL],
            [
                *("reasoning_text", "mcp_call", "reasoning_text", "web_search_call"),
                *("reasoning_text", "output_text"),
            ],
            "completed",
        ),
    ],
)
async def test_events_come_in_the_specified_order(
    serve: Serve, replies: list[str], items: list[str], last: str
) -> None:
    tools = [] if items == ["output_text"] else [BASH, LOOKUP, {"type": "web_search"}]
    async with serve(*replies, *replies, families={"web": (Search(),)}) as running:
        events = await stream(running, tools=tools)
        whole = await running.client.responses.create(model="tiny", input="Hi", tools=tools)
        found = await running.client.responses.retrieve(events[-1]["response"]["id"])

    expected = sum((item(kind) for kind in items), ["created", "in_progress"])
    assert names(events) == [*expected, last]
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    terminal = events[-1]["response"]
    assert terminal["output"] == done == [each.to_dict(mode="json") for each in found.output]
    kinds = [(each.type, each.to_dict().get("status")) for each in whole.output]
    assert kinds == [(each["type"], each["status"]) for each in done]
    assert terminal["usage"] == (whole.usage and whole.usage.to_dict(mode="json"))


async def test_parts_join_to_what_is_done(serve: Serve) -> None:
    async with serve(FAILING_CALL, CALL) as running:
        events = await stream(running, tools=[BASH, LOOKUP])

    whole: dict[Any, str] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            whole[event["item_id"]] = whole.get(event["item_id"], "") + event["delta"]
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert [each["status"] for each in done] == ["completed", "failed", "completed", "completed"]
    texts = {each["id"]: each.get("arguments") or each["content"][0]["text"] for each in done}
    assert whole == texts
    assert "response.mcp_call.failed" in {event["type"] for event in events}


async def test_a_call_that_nothing_holds_to_its_form_is_told_at_the_end(serve: Serve) -> None:
    async with serve(CALL) as running:
        events = await stream(running, tools=[LOOKUP], constrained=False)

    expected = [*item("reasoning_text"), *item("function_call")]
    assert names(events) == ["created", "in_progress", *expected, "completed"]
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done


async def test_the_openai_client_reads_the_stream(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        async with running.client.responses.stream(
            model="tiny", input="Hi", tools=[BASH]
        ) as events:
            deltas = [
                getattr(e, "delta", "") async for e in events if e.type.endswith("text.delta")
            ]
            answer = await events.get_final_response()
        found = await running.client.responses.retrieve(answer.id)

        assert answer.output_text == found.output_text == "Done."
        assert "".join(deltas) == "I look.I know.Done."


async def test_log_probabilities_stand_beside_the_text(serve: Serve) -> None:
    async with serve("Hello there.") as running:
        events = await stream(running, include=LOGPROBS)

    logprobs = [t for e in events if e["type"].endswith("text.delta") for t in e["logprobs"]]
    assert "".join(token["token"] for token in logprobs) == "Hello there."
    [message] = events[-1]["response"]["output"]
    assert message["content"][0]["logprobs"] == logprobs


@pytest.mark.parametrize("reply", ["A long answer that goes on.", BASH_CALL, CALL])
async def test_what_is_cut_ends_incomplete(serve: Serve, reply: str) -> None:
    async with serve(reply) as running:
        tools = [] if reply.startswith("A") else [BASH, LOOKUP]
        spent = {"A": 3, "T": 12}[reply[0]]
        events = await stream(running, tools=tools, max_output_tokens=spent)

    last = events[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    added = sum(event["type"] == "response.output_item.added" for event in events)
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert len(done) == added
    assert done[-1]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("reply", "constrained"), [(BASH_CALL, True), (SEARCH, True), (CALL, True), (CALL, False)]
)
async def test_wherever_it_is_cut_the_answer_is_what_was_told(
    serve: Serve, reply: str, constrained: bool
) -> None:
    cuts = range(1, len(tiny_renderer("chatml").content.encode(reply)) + 2)
    asked: Any = {"tools": [BASH, LOOKUP, {"type": "web_search"}], "constrained": constrained}
    async with serve(*[reply] * len(cuts), families={"web": (Search(),)}) as running:
        for cut in cuts:
            events = await stream(running, max_output_tokens=cut, **asked)
            found = await running.client.responses.retrieve(events[-1]["response"]["id"])
            done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
            assert events[-1]["response"]["output"] == done
            assert [each.to_dict(mode="json") for each in found.output] == done
            assert {each.get("name") for each in done} <= {"bash", "lookup", None}


async def test_a_form_that_nothing_can_be_held_to_is_told_in_this_wires_words(
    serve: Serve,
) -> None:
    refusal = RequestError("response_format: too deep", param="response_format")
    async with serve(refusal, refusal) as running:
        for streamed in (True, False):
            with pytest.raises(openai.BadRequestError) as caught:
                await running.client.responses.create(model="tiny", input="Hi", stream=streamed)
            assert caught.value.param == "text.format"
            assert "response_format" not in str(caught.value)


async def test_the_commit_precedes_the_last_event(serve: Serve) -> None:
    async with serve("One.") as running:
        asked: Any = {"model": "tiny", "input": "Hi", "stream": True}
        async for event in await running.client.responses.create(**asked):
            if event.type == "response.completed":
                assert running.trajectories()[0].outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("reply", "status"), [(UnavailableError("starting"), 503), (RuntimeError("on fire"), 500)]
)
async def test_what_fails_before_the_first_event_has_its_status(
    serve: Serve, reply: Exception, status: int
) -> None:
    async with serve(reply) as running:
        with pytest.raises(openai.APIStatusError) as caught:
            await running.client.responses.create(model="tiny", input="Hi", stream=True)

        assert caught.value.status_code == status


async def test_what_fails_later_is_the_last_event(serve: Serve) -> None:
    async with serve(BASH_CALL.replace("ls", "crash")) as running:
        events = await stream(running, tools=[BASH])
        [trajectory] = running.trajectories()

    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert "fire" not in str(events)
    assert trajectory.outcome is Outcome.ERROR


async def test_a_log_that_fails_ends_the_stream_as_failed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> None:
        raise UnavailableError("the disk is full")

    async with serve("One.") as running:
        monkeypatch.setattr(running.store, "append", full)
        events = await stream(running)

    assert events[-1]["type"] == "response.failed"
    assert "response.completed" not in {event["type"] for event in events}


async def test_a_client_that_leaves_cancels(serve: Serve) -> None:
    async with serve(HANGING_CALL) as running:
        asked: Any = {"model": "tiny", "input": "Hi", "tools": [BASH], "stream": True}
        events = await running.client.responses.create(**asked)
        await running.bash.hanging.wait()
        await events.close()
        await asyncio.wait_for(running.bash.cancelled.wait(), 5)
        for _ in range(100):
            [trajectory] = running.trajectories()
            if trajectory.interactions:
                break
            await asyncio.sleep(0.02)

    assert trajectory.outcome is Outcome.CANCELLED
    assert (trajectory.interactions[0].delivered or 0) > 0


async def test_a_key_replays_the_stream(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        once: Any = {"extra_headers": {"Idempotency-Key": "order-7"}, "tools": [BASH]}
        seen = []
        for _ in range(2):
            events = await running.client.responses.create(
                model="tiny", input="Hi", stream=True, **once
            )
            seen.append([event async for event in events])

        assert seen[0] == seen[1]
        assert running.bash.calls == ["ls"]
