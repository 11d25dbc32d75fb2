"""The eight ways a trajectory comes about, pinned to exact ids, origins and rows.

P prompt, S sampled, F forced, as in `agentlm.trajectory`. Every expectation is written as the text
that the ids spell, control tokens included; that the ids are those which the engine saw and said is
asserted beside it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageParam

from agentlm.trajectory import Origin, Outcome, Trajectory
from support.serving import Running, Serve
from support.tiny import Template

TEMPLATES: list[Template] = ["chatml", "llama2"]
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
LOOKUP: Any = {"type": "function", "function": {"name": "lookup", "description": "Look it up."}}

CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
CLIENT_CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I saw it.\nFinal Answer: Done."

OBSERVED = "Observation: <data>\n{}\n</data>"
END = {"chatml": "<|im_end|>", "llama2": "</s>"}
USER = {
    "chatml": "\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
    "llama2": "<s> [INST] {} [/INST]",
}


def spelled(running: Running, trajectory: Trajectory) -> list[tuple[str, str]]:
    """(origin's letter, text of the ids) of each step."""
    decode = running.served.renderer.decode_verbatim
    return [
        (step.origin.value[0].upper(), decode(step.token_ids or ())) for step in trajectory.steps
    ]


def assert_exact(running: Running, trajectory: Trajectory, request: int = -1) -> None:
    """The ids up to the last answer are what the engine saw, and then what it said."""
    seen = list(running.engine.requests[request].prompt_ids)
    ids = list(trajectory.token_ids())
    assert ids[: len(seen)] == seen
    sampled = [step for step in trajectory.steps if step.origin is Origin.SAMPLED][-1]
    assert ids[len(seen) : len(seen) + len(sampled.token_ids or ())] == list(
        sampled.token_ids or ()
    )


@pytest.mark.parametrize("template", TEMPLATES)
async def test_a_plain_chat_is_one_prompt_and_one_answer(serve: Serve, template: Template) -> None:
    async with serve("Hello.", template=template) as running:
        answer = await running.client.chat.completions.create(model="tiny", messages=HI)
        [trajectory] = running.trajectories()

        assert answer.choices[0].message.content == "Hello."
        user = USER[template].format("Hi").removeprefix("\n")
        assert spelled(running, trajectory) == [("P", user), ("S", "Hello." + END[template])]
        assert_exact(running, trajectory)
        assert trajectory.outcome is Outcome.COMPLETED
        assert trajectory.source == "chat"
        [interaction] = trajectory.interactions
        assert (interaction.first_step, interaction.end_step) == (0, 2)
        assert answer.usage is not None
        assert answer.usage.total_tokens == len(list(trajectory.token_ids()))


@pytest.mark.parametrize("template", TEMPLATES)
async def test_a_follow_up_extends_the_same_trajectory(serve: Serve, template: Template) -> None:
    async with serve("Hello.", "Fine.", template=template) as running:
        first = await running.client.chat.completions.create(model="tiny", messages=HI)
        follow_up: Any = [
            *HI,
            {"role": "assistant", "content": first.choices[0].message.content},
            {"role": "user", "content": "How are you?"},
        ]
        await running.client.chat.completions.create(model="tiny", messages=follow_up)
        [trajectory] = running.trajectories()

        assert spelled(running, trajectory)[2:] == [
            ("P", USER[template].format("How are you?")),
            ("S", "Fine." + END[template]),
        ]
        assert_exact(running, trajectory)
        assert [(i.first_step, i.end_step) for i in trajectory.interactions] == [(0, 2), (2, 4)]


@pytest.mark.parametrize("template", TEMPLATES)
async def test_a_streamed_run_with_the_servers_tools_is_one_trajectory(
    serve: Serve, template: Template
) -> None:
    async with serve(CALL, CALL, " All done.", template=template, max_turns=3) as running:
        stream = await running.client.chat.completions.create(
            model="tiny", messages=HI, tools=BASH, stream=True
        )
        chunks = [chunk async for chunk in stream]
        [trajectory] = running.trajectories()

        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "All done."
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert running.bash.calls == ["ls", "ls"]
        assert [letter for letter, _ in spelled(running, trajectory)][-6:] == list("SPSPFS")
        texts = [text for _, text in spelled(running, trajectory)][-6:]
        observed = USER[template].format(OBSERVED.format("ran ls"))
        lead = " " if template == "llama2" else ""
        assert texts == [
            CALL + END[template],
            observed,
            CALL + END[template],
            observed,
            "Final Answer:",
            "All done." + END[template] if lead else " All done." + END[template],
        ]
        assert_exact(running, trajectory)
        assert trajectory.outcome is Outcome.LIMIT
        assert len(trajectory.interactions) == 1


@pytest.mark.parametrize("template", TEMPLATES)
async def test_tools_of_both_sides_extend_one_trajectory_over_two_requests(
    serve: Serve, template: Template
) -> None:
    async with serve(CALL, CLIENT_CALL, FINAL, template=template) as running:
        tools = [*BASH, LOOKUP]
        first = await running.client.chat.completions.create(model="tiny", messages=HI, tools=tools)
        [call] = first.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, call.function.arguments) == ("lookup", '{"key": "a"}')
        assert running.trajectories()[0].outcome is Outcome.REQUIRES_ACTION

        resumed: Any = [
            *HI,
            first.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "42"},
        ]
        answer = await running.client.chat.completions.create(
            model="tiny", messages=resumed, tools=tools
        )
        [trajectory] = running.trajectories()

        assert answer.choices[0].message.content == "Done."
        assert "".join(letter for letter, _ in spelled(running, trajectory)).endswith("SPSPS")
        assert spelled(running, trajectory)[-2][1] == USER[template].format(OBSERVED.format("42"))
        assert trajectory.steps[-2].tool_call_id == call.id
        assert_exact(running, trajectory)
        assert trajectory.outcome is Outcome.COMPLETED
        assert len(trajectory.interactions) == 2


async def test_a_conversation_recorded_without_marks_goes_on_from_its_ids(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(CALL, FINAL, FINAL) as running:
        with monkeypatch.context() as earlier:
            earlier.setattr("agentlm.agent.engine_policy.observe", "Observation: {}".format)
            await running.client.chat.completions.create(model="tiny", messages=HI, tools=BASH)
        [recorded] = running.trajectories()
        answered: Any = {"role": "assistant", "content": "Done."}
        again: Any = {"role": "user", "content": "Sure?"}
        await running.client.chat.completions.create(
            model="tiny", messages=[*HI, answered, again], tools=BASH
        )
        [trajectory] = running.trajectories()

        assert spelled(running, recorded)[-2][1] == USER["chatml"].format("Observation: ran ls")
        assert trajectory.steps[: len(recorded.steps)] == recorded.steps
        assert_exact(running, trajectory)


async def test_an_agents_name_has_all_tools_and_is_logged_as_the_model(serve: Serve) -> None:
    async with serve(CALL, FINAL) as running:
        answer = await running.client.chat.completions.create(model="tiny:agent", messages=HI)
        [trajectory] = running.trajectories()

        assert answer.choices[0].message.content == "Done."
        assert running.bash.calls == ["ls"]
        assert (trajectory.model, trajectory.source) == ("tiny", "agent")


async def test_two_choices_are_two_trajectories_with_one_prompt(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        answer = await running.client.chat.completions.create(model="tiny", messages=HI, n=2)
        trajectories = running.trajectories()

        assert sorted(c.message.content or "" for c in answer.choices) == ["One.", "Two."]
        assert len({t.steps[0].token_ids for t in trajectories}) == 1
        interactions = [interaction for t in trajectories for interaction in t.interactions]
        assert {i.completion_id for i in interactions} == {answer.id}
        assert sorted(i.choice for i in interactions) == [0, 1]


async def test_cancelling_while_a_tool_runs_keeps_the_call(serve: Serve) -> None:
    hang = CALL.replace('"ls"', '"hang"')
    async with serve(CALL, hang) as running:
        stream = await running.client.chat.completions.create(
            model="tiny", messages=HI, tools=BASH, stream=True
        )
        reading = asyncio.create_task(_read(stream))
        await running.bash.hanging.wait()
        reading.cancel()
        await stream.close()
        await asyncio.wait_for(running.bash.cancelled.wait(), 5)
        trajectory = await _settled(running)

        assert trajectory.outcome is Outcome.CANCELLED
        assert "".join(letter for letter, _ in spelled(running, trajectory)).endswith("SPS")
        [interaction] = trajectory.interactions
        assert interaction.finish_reason is None
        assert (interaction.delivered or 0) > 0


async def test_cancelled_while_generating_keeps_what_was_generated(serve: Serve) -> None:
    async with serve("word " * 1000, delay_s=0.005) as running:
        stream = await running.client.chat.completions.create(
            model="tiny", messages=HI, stream=True
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        trajectory = await _settled(running)

        sampled = trajectory.steps[-1]
        assert trajectory.outcome is Outcome.CANCELLED
        assert sampled.finish_reason == "cancelled"
        assert 0 < len(sampled.token_ids or ()) < 1000
        assert_exact(running, trajectory)


@pytest.mark.parametrize("template", TEMPLATES)
async def test_an_outside_agent_is_one_trajectory(serve: Serve, template: Template) -> None:
    async with serve(CLIENT_CALL, CLIENT_CALL, FINAL, template=template) as running:
        messages: list[Any] = [*HI]
        for number in range(3):
            answer = await running.client.chat.completions.create(
                model="tiny", messages=messages, tools=[LOOKUP]
            )
            message = answer.choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls or []:
                result = {"role": "tool", "tool_call_id": call.id, "content": str(number)}
                messages.append(result)
        [trajectory] = running.trajectories()

        assert "".join(letter for letter, _ in spelled(running, trajectory)).endswith("SPSPS")
        assert_exact(running, trajectory)
        assert len(trajectory.interactions) == 3
        assert trajectory.outcome is Outcome.COMPLETED


async def _read(stream: Any) -> None:
    async for _ in stream:
        pass


async def _settled(running: Running) -> Trajectory:
    """The only trajectory, once the server has recorded how it ended."""
    for _ in range(200):
        found = running.trajectories()
        if found and found[0].interactions:
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was recorded")
