"""A conversation that has a name: a chain of trajectories, and items that can be changed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest
from openai.types.conversations.conversation_item_list import ConversationItemList
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
HI: Any = {"type": "message", "role": "user", "content": "Hi"}
RESULT: Any = {"type": "function_call_output", "call_id": "c1", "output": "42"}
CALLED: Any = {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"}
UNKNOWN = "conv_" + "0" * 32


async def items(running: Running, conversation: str) -> list[dict[str, Any]]:
    """Oldest first, each checked strictly against the openai package's types."""
    async with httpx.AsyncClient(base_url=running.url) as client:
        path = f"/v1/conversations/{conversation}/items?order=asc&limit=100"
        answer = await client.get(path)
    TypeAdapter(ConversationItemList).validate_json(answer.content, strict=True)
    listed: list[dict[str, Any]] = answer.json()["data"]
    return listed


async def test_a_conversation_is_one_trajectory_and_all_its_items(serve: Serve) -> None:
    async with serve(BASH_CALL, CALL, FINAL, FINAL) as running:
        named = await running.client.conversations.create(metadata={"a": "b"}, items=[HI])
        ask: Any = {"model": "tiny", "tools": [BASH, LOOKUP], "conversation": named.id}
        first = await running.client.responses.create(**ask)
        call = first.output[-1]
        assert call.type == "function_call"
        await running.client.responses.create(input=[{**RESULT, "call_id": call.call_id}], **ask)
        answer = await running.client.responses.create(input="Thanks", **ask)
        [trajectory] = running.trajectories()
        listed = await items(running, named.id)

    assert (first.conversation and first.conversation.id) == named.id
    ends = [i.end_step for i in trajectory.interactions]
    assert [i.first_step for i in trajectory.interactions] == [0, *ends[:2]]
    assert trajectory.outcome is Outcome.COMPLETED
    assert [item["type"] for item in listed] == [
        *("message", "reasoning", "mcp_call", "reasoning", "function_call"),
        *("function_call_output", "reasoning", "message", "message", "reasoning", "message"),
    ]
    assert listed[-1] == answer.output[-1].to_dict(mode="json")
    assert len({item["id"] for item in listed}) == len(listed)


async def test_it_is_updated_and_deleted_and_its_trajectory_stays(serve: Serve) -> None:
    async with serve("One.") as running:
        conversations = running.client.conversations
        named = await conversations.create()
        await running.client.responses.create(model="tiny", input="a", conversation=named.id)
        changed = await conversations.update(named.id, metadata={"c": "d"})
        assert await conversations.retrieve(named.id) == changed
        assert (changed.metadata, changed.created_at) == ({"c": "d"}, named.created_at)
        deleted = await conversations.delete(named.id)
        assert (deleted.id, deleted.deleted) == (named.id, True)
        for gone in (conversations.retrieve, conversations.delete):
            with pytest.raises(openai.NotFoundError):
                await gone(named.id)
        assert len(running.trajectories()) == 1


async def test_items_are_added_looked_up_and_deleted(serve: Serve) -> None:
    async with serve("One.") as running:
        conversations = running.client.conversations
        named = await conversations.create()
        thought: Any = {"type": "reasoning", "id": "rs_1", "summary": []}
        made = await conversations.items.create(named.id, items=[HI, thought])
        found = [
            await conversations.items.retrieve(item.id or "", conversation_id=named.id)
            for item in made.data
        ]
        assert found == made.data
        await conversations.items.delete(made.last_id, conversation_id=named.id)
        assert [item["id"] for item in await items(running, named.id)] == [made.first_id]
        await running.client.responses.create(model="tiny", conversation=named.id)
        [trajectory] = running.trajectories()

    assert trajectory.parent_id is None
    assert [m.content for m in trajectory.interactions[0].messages] == ["Hi"]


@pytest.mark.parametrize("which", [0, 1])
async def test_what_is_changed_before_its_end_begins_anew_and_names_its_parent(
    serve: Serve, which: int
) -> None:
    async with serve("One.", "Two.", "Three.", "Four.") as running:
        named = await running.client.conversations.create()
        ask: Any = {"model": "tiny", "conversation": named.id}
        for text in ("a", "b"):
            await running.client.responses.create(input=text, **ask)
        gone = (await items(running, named.id))[which]["id"]
        await running.client.conversations.items.delete(gone, conversation_id=named.id)
        for text in ("c", "d"):
            await running.client.responses.create(input=text, **ask)
        before, after = running.trajectories()

    assert len(before.interactions) == 2
    assert (after.parent_id, after.parent_step) == (before.id, 0)
    texts = ["a", "One.", "b", "Two.", "c"]
    assert [m.content for m in after.interactions[0].messages] == texts[:which] + texts[which + 1 :]
    assert [i.first_step for i in after.interactions] == [0, len(after.steps) - 2]


async def test_an_answer_that_is_deleted_takes_its_items_along(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.") as running:
        named = await running.client.conversations.create()
        ask: Any = {"model": "tiny", "conversation": named.id}
        await running.client.responses.create(input="a", **ask)
        second = await running.client.responses.create(input="b", **ask)
        await running.client.responses.delete(second.id)
        assert [item["content"][0]["text"] for item in await items(running, named.id)] == [
            *("a", "One."),
        ]
        third = await running.client.responses.create(input="c", **ask)

        assert third.output_text == "Three."
        last = running.trajectories()[-1].interactions[-1]
        assert [m.content for m in last.messages] == ["a", "One.", "c"]


async def test_a_busy_conversation_is_refused_until_it_is_free(serve: Serve) -> None:
    async with serve(HANGING_CALL, "Two.") as running:
        named = await running.client.conversations.create(items=[HI])
        ask: Any = {"model": "tiny", "input": "a", "conversation": named.id}
        first = asyncio.create_task(running.client.responses.create(tools=[BASH], **ask))
        await running.bash.hanging.wait()
        [item] = await items(running, named.id)
        conversations = running.client.conversations
        for refused in (
            running.client.responses.create(**ask),
            conversations.items.create(named.id, items=[HI]),
            conversations.items.delete(item["id"], conversation_id=named.id),
            conversations.delete(named.id),
        ):
            with pytest.raises(openai.ConflictError) as caught:
                await refused  # type: ignore[misc]
            assert caught.value.code == "conversation_locked"
        first.cancel()
        await asyncio.wait([first])
        await asyncio.wait_for(running.bash.cancelled.wait(), 5)
        for _ in range(100):
            try:
                second = await running.client.responses.create(**ask)
                break
            except openai.ConflictError:
                await asyncio.sleep(0.02)

        assert second.output_text == "Two."
        texts = [item["content"][0]["text"] for item in await items(running, named.id)]
        assert texts == ["Hi", "a", "Two."]


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"conversation": UNKNOWN}, 404, "conversation"),
        ({"conversation": {"id": UNKNOWN}}, 404, "conversation"),
        ({"conversation": 7}, 400, "conversation"),
        ({"conversation": {"id": UNKNOWN, "a": 1}}, 400, "conversation.a"),
        ({"store": False}, 400, "store"),
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({"input": [RESULT]}, 400, "input[0].call_id"),
        ({"input": "x " * 999}, 400, "input"),
    ],
)
async def test_what_is_refused_leaves_it_free(
    serve: Serve, change: dict[str, Any], status: int, param: str
) -> None:
    async with serve("One.", context=512) as running, httpx.AsyncClient() as client:
        named = await running.client.conversations.create()
        body = {"model": "tiny", "input": "a", "conversation": named.id}
        refused = await client.post(f"{running.url}/v1/responses", json=body | change)
        answered = await client.post(f"{running.url}/v1/responses", json=body)

    assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
    assert answered.status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": [RESULT]}, "items[0].call_id"),
        ({"items": [{"type": "teleport"}]}, "items[0].type"),
        ({"items": [{**HI, "content": [{"type": "input_image"}]}]}, "items[0].content[0].type"),
        ({"items": ["Hi"]}, "items[0]"),
        ({"items": [{"type": "mcp_call"}]}, "items[0]"),
        ({"items": [HI], "metadata": {"a": 1}}, "metadata.a"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_item_is_named(serve: Serve, body: dict[str, Any], param: str) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        named = await running.client.conversations.create()
        answers = [await client.post("/v1/conversations", json=body)]
        if set(body) == {"items"}:
            answers.append(await client.post(f"/v1/conversations/{named.id}/items", json=body))

    for answer in answers:
        assert answer.status_code == 400
        assert str(answer.json()["error"]["param"]).startswith(param)


async def test_input_is_counted_as_it_is_answered(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL, FINAL) as running:
        named = await running.client.conversations.create()
        tools: Any = [BASH]
        first: Any = {"model": "tiny", "input": "Hi", "tools": tools, "instructions": "Be brief."}
        second = {**first, "input": "More"}
        count = running.client.responses.input_tokens.count
        for ask in (first, second):
            counted = await count(**ask, conversation=named.id)
            answer = await running.client.responses.create(**ask, conversation=named.id)
            assert answer.usage is not None
            run = answer.usage.input_tokens - counted.input_tokens
            # What a tool gave is input of the run too.
            assert (run > 0) == (ask is first)
        [trajectory] = running.trajectories()
        assert len(trajectory.interactions) == 2
        with pytest.raises(openai.BadRequestError) as caught:
            await count(**first, extra_body={"max_output_tokens": 1})
        assert caught.value.param == "max_output_tokens"


@pytest.mark.parametrize(
    ("begun", "gone", "param"),
    [
        ([HI, CALLED], None, "conversation[1].call_id"),
        ([HI, CALLED, RESULT], 1, "conversation[1].call_id"),
        ([HI, CALLED, RESULT], 2, "conversation[1].call_id"),
    ],
)
async def test_calls_left_open_and_outputs_left_alone_are_named(
    serve: Serve, begun: list[Any], gone: int | None, param: str
) -> None:
    async with serve("One.") as running:
        conversations = running.client.conversations
        named = await conversations.create(items=begun)
        if gone is not None:
            item = (await items(running, named.id))[gone]
            await conversations.items.delete(item["id"], conversation_id=named.id)
        with pytest.raises(openai.BadRequestError) as caught:
            await running.client.responses.create(
                model="tiny", input="a", tools=[LOOKUP], conversation=named.id
            )
        assert caught.value.param == param


async def test_ten_thousand_items_are_kept_and_refused_where_they_do_not_fit(serve: Serve) -> None:
    async with serve("One.", context=64) as running:
        named = await running.client.conversations.create(items=[HI] * 10_000)
        with pytest.raises(openai.BadRequestError) as caught:
            await running.client.responses.create(model="tiny", conversation=named.id)
        assert caught.value.code == "context_length_exceeded"
        page = await running.client.conversations.items.list(named.id, limit=100)
        assert page.has_more


async def test_a_key_of_which_no_text_is_kept_has_no_conversations(serve: Serve) -> None:
    async with serve("One.", api_key="boss") as running:
        secret = await running.store.keys.create(ApiKey(name="ann", log="metadata"))
        url = f"{running.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=secret, max_retries=0) as ann:
            for refused in (
                ann.conversations.create(items=[HI]),
                ann.conversations.items.create(UNKNOWN, items=[HI]),
                ann.responses.create(model="tiny", input="a", conversation=UNKNOWN),
            ):
                with pytest.raises(openai.PermissionDeniedError) as caught:
                    await refused
                assert caught.value.param == "conversation"
