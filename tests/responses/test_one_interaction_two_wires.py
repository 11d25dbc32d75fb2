"""Chat completions and Responses are two spellings of one interaction: same ids, same rows."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agentlm.messages import Message
from agentlm.trajectory import Outcome, Trajectory
from support.serving import Running, Serve

BASH: Any = {"type": "bash"}
FLAT: Any = {"type": "function", "name": "lookup", "description": "Look.", "parameters": {}}
NESTED: Any = {
    "type": "function",
    "function": {"name": "lookup", "description": "Look.", "parameters": {}},
}
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
CLIENT_CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I know.\nFinal Answer: Done."


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def rows(trajectory: Trajectory) -> list[Any]:
    """What training reads of it."""
    return [
        (step.role, step.origin, step.token_ids, step.thought, step.answer, step.failed)
        for step in trajectory.steps
    ]


async def over_chat(running: Running, tools: list[Any], **more: Any) -> None:
    """Three turns: the second answers a call, the third goes on from the answer."""
    create = running.client.chat.completions.create
    history: list[Any] = [{"role": "system", "content": "Be brief."}, user("Hi")]
    for turn in ("result", "Thanks", None):
        answer = await create(model="tiny", messages=history, tools=tools, **more)
        message = answer.choices[0].message
        history.append(message.model_dump(include={"role", "content", "tool_calls"}))
        if message.tool_calls:
            call = message.tool_calls[0].id
            history.append({"role": "tool", "tool_call_id": call, "content": turn})
        elif turn:
            history.append(user(turn))


async def over_responses(running: Running, tools: list[Any], *, by: str, **more: Any) -> None:
    create = running.client.responses.create
    history: list[Any] = [user("Hi")]
    going_on: dict[str, Any] = {}
    if by == "conversation":
        going_on = {"conversation": (await running.client.conversations.create()).id}
    for turn in ("result", "Thanks", None):
        answer = await create(
            model="tiny",
            instructions="Be brief.",
            input=history,
            tools=tools,
            **going_on,
            **more,
        )
        if by == "id":
            going_on = {"previous_response_id": answer.id}
        sent_again = (item.model_dump() for item in answer.output)
        history = [*history, *sent_again] if by == "items" else []
        calls = [item for item in answer.output if item.type == "function_call"]
        if calls:
            result = {"type": "function_call_output", "call_id": calls[0].call_id}
            history.append(result | {"output": turn})
        elif turn:
            history.append(user(turn))


@pytest.mark.parametrize("template", ["chatml", "llama2"])
@pytest.mark.parametrize("by", ["items", "id", "conversation"])
async def test_the_same_conversation_is_the_same_rows(serve: Serve, template: Any, by: str) -> None:
    replies = [CALL, CLIENT_CALL, FINAL, "Thought: t\nFinal Answer: Bye."]
    async with serve(*replies, *replies, template=template) as running:
        await over_chat(running, [BASH, NESTED], temperature=0.5)
        await over_responses(running, [BASH, FLAT], by=by, temperature=0.5)
        chat, responses = running.trajectories()

    assert rows(chat) == rows(responses)
    assert list(chat.token_ids()) == list(responses.token_ids())
    assert (chat.tools, chat.source, chat.outcome) == (
        responses.tools,
        responses.source,
        responses.outcome,
    )
    fields = ("first_step", "end_step", "finish_reason", "usage", "sampling", "stored")
    for one, other in zip(chat.interactions, responses.interactions, strict=True):
        assert [getattr(one, name) for name in fields] == [getattr(other, name) for name in fields]
        assert [m.content for m in one.messages] == [m.content for m in other.messages]
    assert len(responses.interactions) == 3


async def test_a_conversation_may_change_its_wire_at_every_turn(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.", "Four.") as running:
        chat, responses = running.client.chat.completions, running.client.responses
        first = await chat.create(model="tiny", messages=[user("a")])
        named = first.id.replace("chatcmpl-", "resp_")
        second = await responses.create(model="tiny", input="b", previous_response_id=named)
        history = [user("a"), {"role": "assistant", "content": "One."}, user("b")]
        history += [{"role": "assistant", "content": second.output_text}, user("c")]
        third = await chat.create(model="tiny", messages=history)
        items = [*history, {"role": "assistant", "content": third.choices[0].message.content}]
        fourth = await responses.create(model="tiny", input=[*items, user("d")])
        [trajectory] = running.trajectories()

    assert fourth.output_text == "Four."
    assert [i.first_step for i in trajectory.interactions] == [0, 2, 4, 6]
    assert trajectory.outcome is Outcome.COMPLETED


async def test_a_response_is_found_by_either_name(serve: Serve) -> None:
    async with serve("One.") as running, httpx.AsyncClient(base_url=running.url) as client:
        raw = await running.client.responses.with_raw_response.create(model="tiny", input="Hi")
        answer = raw.parse()
        [trajectory] = running.trajectories()
        by_response = (await client.get(f"/v1/trajectories/{answer.id}")).json()
        path = f"/v1/trajectories/{answer.id}/feedback"
        judged = await client.post(path, json={"value": 1})

        assert raw.headers["x-trajectory-id"] == by_response["id"] == trajectory.id
        assert judged.json()["reward"] == 1
        [feedback] = running.trajectory(trajectory.id).feedback
        assert feedback.completion_id == trajectory.interactions[0].completion_id
        named = await client.post(path, json={"value": 0, "completion_id": answer.id})
        assert named.json()["reward"] == 0


async def test_another_head_begins_anew_and_names_its_parent(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.", FINAL) as running:
        create = running.client.responses.create
        first = await create(model="tiny", input="a", instructions="Be brief.")
        same: Any = {"model": "tiny", "input": "b", "previous_response_id": first.id}
        await create(**same, instructions="Be long.")
        await create(**same, instructions="Be brief.")
        await create(**same, instructions="Be brief.", tools=[BASH])
        one, other, tooled = running.trajectories()

    assert [i.messages[0].content for i in one.interactions] == ["Be brief.", "Be brief."]
    assert (other.parent_id, other.parent_step) == (one.id, 0)
    assert other.interactions[0].messages == (
        Message(role="system", content="Be long."),
        *one.interactions[1].messages[1:],
    )
    assert (tooled.parent_id, tooled.parent_step, tooled.outcome) == (one.id, 0, Outcome.COMPLETED)


async def test_instructions_do_not_carry_over(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        create = running.client.responses.create
        first = await create(model="tiny", input="a", instructions="Be brief.")
        await create(model="tiny", input="b", previous_response_id=first.id)
        last = running.trajectories()[-1].interactions[0]

    assert [m.content for m in last.messages] == ["a", "One.", "b"]


async def test_what_has_a_successor_forks(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.") as running:
        create = running.client.responses.create
        first = await create(model="tiny", input="a")
        for text in ("b", "c"):
            await create(model="tiny", input=text, previous_response_id=first.id)
        one, fork = running.trajectories()

    assert (fork.parent_id, fork.parent_step) == (one.id, 2)
    assert fork.steps[:2] == one.steps[:2]


async def test_of_two_equal_conversations_the_named_one_goes_on(serve: Serve) -> None:
    async with serve("One.", "One.", "Two.") as running:
        create = running.client.responses.create
        first, _ = [await create(model="tiny", input="a") for _ in range(2)]
        await create(model="tiny", input="b", previous_response_id=first.id)
        one, other = running.trajectories()

    assert (len(one.interactions), len(other.interactions)) == (2, 1)


@pytest.mark.parametrize("by_id", [False, True])
async def test_what_is_not_to_be_kept_goes_on_from_what_was(serve: Serve, by_id: bool) -> None:
    async with serve("One.", "Two.") as running:
        create = running.client.responses.create
        first = await create(model="tiny", input="a")
        if by_id:
            more: Any = {"input": "b", "previous_response_id": first.id}
        else:
            more = {"input": [user("a"), {"role": "assistant", "content": "One."}, user("b")]}
        second = await create(model="tiny", store=False, **more)
        kept, apart = running.trajectories()

        assert second.output_text == "Two."
        assert (len(kept.interactions), apart.parent_id) == (1, None)
        assert {step.text for step in apart.steps} == {""}


async def test_chat_goes_on_too_from_what_was_kept_without_being_kept(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        create = running.client.chat.completions.create
        await create(model="tiny", messages=[user("a")])
        history = [user("a"), {"role": "assistant", "content": "One."}, user("b")]
        answer = await create(model="tiny", messages=history, store=False)

        assert answer.choices[0].message.content == "Two."
        assert len(running.trajectories()) == 2
