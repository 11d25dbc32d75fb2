"""The shell tool: for the client to run with a local environment, ours with a container."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai.types.responses import Response
from pydantic import TypeAdapter

from agentlm.prompt.observation import observe
from support.serving import Running, Serve

ASKED = {"role": "user", "content": "What is here?"}
LOCAL: dict[str, Any] = {"type": "shell", "environment": {"type": "local"}}
CONTAINER: dict[str, Any] = {"type": "shell", "environment": {"type": "container_auto"}}
CALL = 'Thought: I look.\nAction: shell\nAction Input: {"commands": ["ls", "pwd"]}'
BASH_CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
EXIT = {"type": "exit", "exit_code": 2}
GAVE = [
    {"stdout": "a\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
    {"stdout": "", "stderr": "no pwd", "outcome": EXIT},
    {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}},
]


async def post(running: Running, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        body = {"model": "tiny", "input": [ASKED], **fields}
        return await client.post(f"{running.url}/v1/responses", json=body)


async def answered(running: Running, **fields: Any) -> dict[str, Any]:
    got = await post(running, **fields)
    assert got.status_code == 200, got.text
    if not fields.get("stream"):
        TypeAdapter(Response).validate_json(got.content, strict=True)
        answer: dict[str, Any] = got.json()
        return answer
    lines = [line for line in got.text.splitlines() if line.startswith("data: {")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    response: dict[str, Any] = events[-1]["response"]
    return response


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tool", [LOCAL, {"type": "shell"}])
async def test_a_local_shell_is_the_clients(
    serve: Serve, tool: dict[str, Any], stream: bool
) -> None:
    async with serve(CALL, FINAL) as running:
        asked = await answered(running, tools=[tool], stream=stream)
        assert asked["tools"] == [LOCAL]
        call = asked["output"][-1]
        assert (call["type"], call["action"]["commands"]) == ("shell_call", ["ls", "pwd"])
        assert running.bash.calls == []

        result = {"type": "shell_call_output", "call_id": call["call_id"], "output": GAVE}
        items = [ASKED, *asked["output"], result]
        answer = await answered(running, tools=[tool], input=items, stream=stream)
        assert answer["output"][-1]["content"][0]["text"] == "Done."
        prompt = running.served.renderer.decode_verbatim(running.engine.requests[-1].prompt_ids)
        assert observe("a\nno pwd\n(exit code 2)\n(it was stopped: its time was over)") in prompt
        assert len(running.trajectories()) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_container_is_our_sandbox(serve: Serve, stream: bool) -> None:
    async with serve(BASH_CALL, FINAL, FINAL) as running:
        answer = await answered(running, tools=[CONTAINER], stream=stream)
        assert running.bash.calls == ["ls"]
        kinds = [item["type"] for item in answer["output"]]
        assert kinds == ["reasoning", "shell_call", "shell_call_output", "reasoning", "message"]
        call, result = answer["output"][1:3]
        assert call["action"]["commands"] == ["ls"]
        assert (result["call_id"], result["output"][0]["stdout"]) == (call["call_id"], "ran ls")

        thanks = {"role": "user", "content": "Thanks"}
        request = {"tools": [CONTAINER], "input": [ASKED, *answer["output"], thanks]}
        await answered(running, **request)
        assert running.bash.calls == ["ls"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"environment": {"type": "container_reference", "container_id": "c"}}, "environment"),
        ({"environment": {"type": "local", "skills": []}}, "environment.local.skills"),
        ({"environment": {"type": "container_auto", "memory_limit": "4g"}}, "environment"),
        ({"allowed_callers": ["programmatic"]}, "allowed_callers"),
    ],
)
async def test_other_shells_are_refused_by_name(
    serve: Serve, change: dict[str, Any], param: str
) -> None:
    async with serve() as running:
        got = await post(running, tools=[{**LOCAL, **change}])
        assert got.status_code == 400
        assert got.json()["error"]["param"].startswith(f"tools[0].{param}")
