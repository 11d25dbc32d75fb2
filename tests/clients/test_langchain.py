"""What ChatAgentLM makes of the server's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from agentlm.trajectory import Outcome
from support.chatting import (
    BASH,
    CALL,
    CLIENT_CALL,
    FINAL,
    Way,
    astream,
    chat,
    in_every_way,
    lookup,
)
from support.serving import Serve


@in_every_way
async def test_a_run_of_the_servers_tools_is_told_whole(serve: Serve, ask: Way) -> None:
    async with serve(CALL, FINAL) as running:
        answer = await ask(chat(running).bind_tools([BASH]), "Hi")

        assert answer.text == "Done."
        thoughts = "I look.\nAction: bash\nAction Input: "
        assert answer.additional_kwargs["reasoning_content"].startswith(thoughts)
        thought, made, result, answered = answer.content_blocks
        assert (thought["type"], answered["type"]) == ("reasoning", "text")
        assert made["type"] == "server_tool_call"
        assert (made["name"], made["args"]) == ("bash", {"command": "ls"})
        assert result["type"] == "server_tool_result"
        assert (result["tool_call_id"], result["status"]) == (made["id"], "success")
        assert result["output"] == "ran ls"
        [step] = answer.response_metadata["agent_steps"]
        assert (step["call"], step["observation"]) == ("bash", "ran ls")
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["output_token_details"]["reasoning"] > 0


async def test_a_call_that_waits_for_a_person_is_a_block_of_the_stream(
    serve: Serve, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools: {bash: ask}")
    async with serve(CALL, FINAL, tool_policy=policy) as running:
        blocks: list[Any] = []
        async for chunk in chat(running).bind_tools([BASH]).astream("Hi"):
            new = [dict(block) for block in chunk.content_blocks]
            for asked in (block["value"] for block in new if block["type"] == "non_standard"):
                assert (asked["type"], asked["call"]) == ("approval_request", "bash")
                path = f"/approvals/{asked['id']}"
                await running.client.post(path, cast_to=object, body={"approve": True})
            blocks += new
        kinds = [block["type"] for block in blocks if block["type"] not in ("reasoning", "text")]
        assert kinds == ["non_standard", "server_tool_call", "server_tool_result"]


@in_every_way
async def test_an_answer_names_its_trajectory_and_completion(serve: Serve, ask: Way) -> None:
    async with serve("Hello.") as running:
        answer = await ask(chat(running), "Hi")
        [trajectory] = running.trajectories()

        metadata = answer.response_metadata
        assert metadata["trajectory_id"] == trajectory.id
        assert metadata["id"] == trajectory.interactions[0].completion_id
        assert (metadata["model_name"], metadata["model_provider"]) == ("tiny", "agentlm")
        assert metadata["finish_reason"] == "stop"
        assert metadata["request_id"].startswith("req_")


@in_every_way
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_an_answer_sent_back_continues_its_run(
    serve: Serve, ask: Way, output_version: str
) -> None:
    async with serve(CALL, FINAL, FINAL) as running:
        model = chat(running, output_version=output_version).bind_tools([BASH])
        messages = [HumanMessage("Hi")]
        answer = await ask(model, messages)
        await ask(model, [*messages, answer, HumanMessage("And?")])
        [trajectory] = running.trajectories()

        assert len(trajectory.interactions) == 2


@in_every_way
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_a_result_of_the_clients_tool_continues_the_run(
    serve: Serve, ask: Way, output_version: str
) -> None:
    async with serve(CALL, CLIENT_CALL, FINAL) as running:
        model = chat(running, output_version=output_version).bind_tools([BASH, lookup])
        messages = [HumanMessage("Hi")]
        asked = await ask(model, messages)
        [call] = asked.tool_calls
        answer = await ask(model, [*messages, asked, lookup.invoke(call)])
        [trajectory] = running.trajectories()

        assert (call["name"], call["args"]) == ("lookup", {"key": "a"})
        kinds = [block["type"] for block in asked.content_blocks]
        # A stream that makes its blocks as it goes keeps the second thought apart.
        assert kinds[:3] == ["reasoning", "server_tool_call", "server_tool_result"]
        assert kinds[3:] in (["tool_call"], ["reasoning", "tool_call"])
        assert answer.text == "Done."
        assert trajectory.outcome is Outcome.COMPLETED


@in_every_way
async def test_logprobs_are_told_token_by_token(serve: Serve, ask: Way) -> None:
    async with serve("Hello there.") as running:
        answer = await ask(chat(running, logprobs=True), "Hi")

        tokens = answer.response_metadata["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == "Hello there."
        assert {token["logprob"] for token in tokens} == {-0.5}


async def test_several_answers_have_a_trajectory_each_and_one_usage(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        result = await chat(running).agenerate([[HumanMessage("Hi")]], n=2)
        answers: Any = [generation.message for generation in result.generations[0]]  # type: ignore[union-attr]

        assert sorted(answer.text for answer in answers) == ["One.", "Two."]
        assert {answer.response_metadata["trajectory_id"] for answer in answers} == {
            trajectory.id for trajectory in running.trajectories()
        }
        assert [answer.usage_metadata is None for answer in answers] == [False, True]


async def test_several_answers_can_not_be_streamed(serve: Serve) -> None:
    async with serve() as running:
        with pytest.raises(ValueError, match="n must be 1 on a stream, got 2"):
            await astream(chat(running, model_kwargs={"n": 2}), "Hi")


async def test_langgraphs_agent_is_one_trajectory(serve: Serve) -> None:
    from langgraph.prebuilt import create_react_agent

    async with serve(CALL, CLIENT_CALL, CLIENT_CALL, FINAL) as running:
        with pytest.warns(match="create_react_agent"):
            agent = create_react_agent(chat(running), [lookup, BASH])
        state = await agent.ainvoke({"messages": [("user", "Hi")]})
        [trajectory] = running.trajectories()

        kinds = [message.type for message in state["messages"]]
        assert kinds == ["human", "ai", "tool", "ai", "tool", "ai"]
        assert isinstance(state["messages"][2], ToolMessage)
        assert state["messages"][-1].text == "Done."
        assert running.bash.calls == ["ls"]
        assert len(trajectory.interactions) == 3
