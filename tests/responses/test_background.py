"""A response in the background runs on without its request, and is looked up, followed, ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from agentlm.store import ApiKey
from agentlm.trajectory import Outcome
from support.serving import Running, Serve

BASH: Any = {"type": "bash"}
LOOKUP: Any = {"type": "function", "name": "lookup", "parameters": {}, "strict": False}
BASH_CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
HANGING_CALL = BASH_CALL.replace("ls", "hang")
CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
ASK: Any = {"model": "tiny", "input": "Hi", "tools": [BASH, LOOKUP], "background": True}


async def ended(running: Running, answer: Response) -> Response:
    for _ in range(500):
        if answer.status != "in_progress":
            return answer
        await asyncio.sleep(0.02)
        answer = await running.client.responses.retrieve(answer.id)
    raise AssertionError("it does not end")


async def events(
    running: Running, path: str, body: Any = None, **headers: str
) -> list[dict[str, Any]]:
    """A stream as it came, each event checked strictly against the openai package's type."""
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
        method = "POST" if body else "GET"
        answer = await client.request(method, path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    blocks = [block for block in answer.text.split("\n\n") if block and block[0] != ":"]
    assert blocks.pop() == "data: [DONE]"
    received = [block.partition("\ndata: ")[2] for block in blocks]
    kind: Any = ResponseStreamEvent
    for event in received:
        TypeAdapter(kind).validate_json(event, strict=True)
    return [json.loads(event) for event in received]


def names(received: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in received]


async def test_it_is_polled_until_it_has_ended_and_gone_on_from(serve: Serve) -> None:
    async with serve(HANGING_CALL, FINAL, FINAL) as running:
        begun = await running.client.responses.create(**ASK)
        assert (begun.status, begun.output, begun.background) == ("in_progress", [], True)
        await running.bash.hanging.wait()
        seen = await running.client.responses.retrieve(begun.id)
        assert [(item.type, item.to_dict()["status"]) for item in seen.output] == [
            ("reasoning", "completed"),
            ("mcp_call", "in_progress"),
        ]
        with pytest.raises(openai.BadRequestError, match="still runs"):
            await running.client.responses.create(**ASK, previous_response_id=begun.id)
        running.bash.resume.set()
        answer = await ended(running, begun)
        more: Any = {**ASK, "background": False, "previous_response_id": answer.id}
        await running.client.responses.create(**more)
        [trajectory] = running.trajectories()

    assert (answer.status, answer.output_text) == ("completed", "Done.")
    assert answer.usage is not None
    assert [i.first_step for i in trajectory.interactions] == [
        0,
        trajectory.interactions[0].end_step,
    ]


async def test_it_is_the_same_trajectory_as_with_a_request(serve: Serve) -> None:
    async with serve(*[BASH_CALL, CALL] * 2) as running:
        first = await running.client.responses.create(**{**ASK, "background": False})
        second = await ended(running, await running.client.responses.create(**ASK))
        one, other = running.trajectories()

    assert list(one.token_ids()) == list(other.token_ids())
    assert one.interactions[0].usage == other.interactions[0].usage
    assert [item.type for item in first.output] == [item.type for item in second.output]


async def test_whoever_follows_is_told_the_same_from_wherever(serve: Serve) -> None:
    async with serve(BASH_CALL, HANGING_CALL, CALL) as running:
        begun = asyncio.create_task(events(running, "/v1/responses", {**ASK, "stream": True}))
        await running.bash.hanging.wait()
        [trajectory] = running.trajectories()
        identity = trajectory.interactions[0].completion_id.replace("chatcmpl-", "resp_")
        path = f"/v1/responses/{identity}?stream=true"
        late = asyncio.create_task(events(running, path))
        await asyncio.sleep(0.1)
        running.bash.resume.set()
        received = await begun
        after = await events(running, path)
        rest = await events(running, f"{path}&starting_after=7")
        none = await events(running, f"{path}&starting_after={len(received)}")
        found = await running.client.responses.retrieve(identity)

        assert received == await late == after
        assert (rest, none) == (received[8:], [])
        assert [event["sequence_number"] for event in received] == list(range(len(received)))
        assert names(received)[:2] == ["created", "in_progress"]
        assert names(received)[8:14] == [
            *("output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta"),
            *("mcp_call_arguments.done", "mcp_call.completed", "output_item.done"),
        ]
        done = [e["item"] for e in received if e["type"] == "response.output_item.done"]
        assert done == received[-1]["response"]["output"] == found.to_dict(mode="json")["output"]


async def test_who_leaves_does_not_end_it(serve: Serve) -> None:
    async with serve(HANGING_CALL, FINAL) as running:
        followed = await running.client.responses.create(**ASK, stream=True)
        await running.bash.hanging.wait()
        await followed.close()
        await asyncio.sleep(0.1)
        running.bash.resume.set()
        [trajectory] = running.trajectories()
        identity = trajectory.interactions[0].completion_id.replace("chatcmpl-", "resp_")
        answer = await ended(running, await running.client.responses.retrieve(identity))

        assert answer.output_text == "Done."


async def test_it_is_cancelled_and_what_was_done_stays(serve: Serve) -> None:
    async with serve(BASH_CALL, HANGING_CALL, "One.") as running:
        begun = await running.client.responses.create(**ASK)
        await running.bash.hanging.wait()
        answer = await running.client.responses.cancel(begun.id)
        again = await running.client.responses.cancel(begun.id)
        received = await events(running, f"/v1/responses/{begun.id}?stream=true")
        [trajectory] = running.trajectories()
        plain = await running.client.responses.create(model="tiny", input="a")
        with pytest.raises(openai.BadRequestError) as caught:
            await running.client.responses.cancel(plain.id)

    assert running.bash.cancelled.is_set()
    assert answer == again
    assert answer.status == "cancelled"
    done = [(item.type, item.to_dict()["status"]) for item in answer.output]
    assert done[1::2] == [("mcp_call", "completed"), ("mcp_call", "incomplete")]
    assert names(received)[-1] == "incomplete"
    assert trajectory.outcome is Outcome.CANCELLED
    assert caught.value.param == "response_id"


async def test_what_has_ended_is_not_cancelled_any_more(serve: Serve) -> None:
    async with serve(FINAL) as running:
        answer = await ended(running, await running.client.responses.create(**ASK))
        again = await running.client.responses.cancel(answer.id)
        [trajectory] = running.trajectories()

    assert again == answer
    assert (answer.status, trajectory.outcome) == ("completed", Outcome.COMPLETED)


async def test_what_fails_is_told_when_it_is_looked_up(serve: Serve) -> None:
    async with serve(BASH_CALL, RuntimeError("on fire")) as running:
        answer = await ended(running, await running.client.responses.create(**ASK))
        received = await events(running, f"/v1/responses/{answer.id}?stream=true")

        assert answer.status == "failed"
        assert answer.error is not None
        assert (answer.error.code, len(answer.output)) == ("server_error", 2)
        assert names(received)[-1] == "failed"
        assert "fire" not in str(received)


async def test_it_can_be_deleted_while_it_runs(serve: Serve) -> None:
    async with serve(HANGING_CALL) as running:
        begun = await running.client.responses.create(**ASK)
        await running.bash.hanging.wait()
        await running.client.responses.delete(begun.id)

        assert running.bash.cancelled.is_set()
        assert running.trajectories() == []


async def test_a_key_begins_it_once(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        once: Any = {**ASK, "extra_headers": {"Idempotency-Key": "k"}}
        begun = [await running.client.responses.create(**once) for _ in range(2)]
        await ended(running, begun[0])

        assert begun[0] == begun[1]
        assert running.bash.calls == ["ls"]


async def test_a_key_begins_it_once_for_all_who_follow(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        asked = {**ASK, "stream": True}
        key = {"Idempotency-Key": "k"}
        received = [await events(running, "/v1/responses", asked, **key) for _ in range(2)]

        assert received[0] == received[1]
        assert running.bash.calls == ["ls"]


async def test_a_conversation_is_busy_until_it_has_ended(serve: Serve) -> None:
    async with serve(HANGING_CALL, FINAL) as running:
        named = await running.client.conversations.create()
        ask: Any = {**ASK, "conversation": named.id}
        begun = await running.client.responses.create(**ask)
        await running.bash.hanging.wait()
        with pytest.raises(openai.ConflictError):
            await running.client.responses.create(**ask)
        running.bash.resume.set()
        await ended(running, begun)
        listed = await running.client.conversations.items.list(named.id, order="asc")

        assert [item.type for item in listed.data] == [
            *("message", "reasoning", "mcp_call", "reasoning", "message"),
        ]


async def test_a_server_that_stops_leaves_it_failed(serve: Serve, tmp_path: Any) -> None:
    async with serve(BASH_CALL, HANGING_CALL, drain_s=0) as running:
        begun = await running.client.responses.create(**ASK)
        await running.bash.hanging.wait()
    async with serve() as running:
        answer = await running.client.responses.retrieve(begun.id)

        assert answer.status == "failed"
        assert answer.error is not None
        assert answer.error.code == "server_error"
        assert [item.type for item in answer.output][:2] == ["reasoning", "mcp_call"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"store": False}, "background"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
    ],
)
async def test_what_could_not_be_looked_up_is_refused(
    serve: Serve, change: dict[str, Any], param: str
) -> None:
    async with serve() as running:
        with pytest.raises(openai.BadRequestError) as caught:
            await running.client.responses.create(**ASK | change)

        assert caught.value.param == param


async def test_a_key_that_keeps_no_log_has_no_background(serve: Serve) -> None:
    async with serve(api_key="boss") as running:
        secret = await running.store.keys.create(ApiKey(name="ann", log="metadata"))
        url = f"{running.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=secret, max_retries=0) as ann:
            with pytest.raises(openai.BadRequestError) as caught:
                await ann.responses.create(**ASK)

        assert caught.value.param == "background"


@pytest.mark.parametrize("query", ["starting_after=1", "stream=true&starting_after=-1"])
async def test_a_place_that_means_nothing_is_refused(serve: Serve, query: str) -> None:
    async with serve("One.") as running, httpx.AsyncClient(base_url=running.url) as client:
        answer = await running.client.responses.create(model="tiny", input="Hi")
        found = await client.get(f"/v1/responses/{answer.id}?{query}")

        assert (found.status_code, found.json()["error"]["param"]) == (400, "starting_after")
