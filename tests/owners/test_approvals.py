"""A call that the policy asks about pauses its run until a person decides."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from agentlm.commands.approvals import main
from agentlm.errors import OperatorError
from agentlm.printable import UNPRINTABLE
from agentlm.store import ApiKey, Store
from agentlm.trajectory import Outcome
from support.serving import Running, Serve

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FINAL = "Thought: t\nFinal Answer: Done."


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("tools:\n  bash: ask\n")
    return path


async def listed(running: Running, key: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as client:
        answer = await client.get(f"{running.url}/v1/approvals")
    return list(answer.json()["data"])


async def decide(running: Running, key: str, name: str) -> httpx.Response:
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as client:
        return await client.post(f"{running.url}/v1/approvals/{name}", json={"approve": True})


async def waiting(running: Running, key: str = "any") -> dict[str, Any]:
    """The call that waits, once it does."""
    for _ in range(200):
        if items := await listed(running, key):
            return items[0]
        await asyncio.sleep(0.02)
    raise AssertionError("no call waits")


@pytest.mark.parametrize(("verb", "ran"), [("approve", ["ls"]), ("deny", [])])
async def test_a_person_decides_by_command(
    serve: Serve, policy: Path, verb: str, ran: list[str]
) -> None:
    async with serve(CALL, FINAL, tool_policy=policy) as running:
        run = asyncio.create_task(
            running.client.chat.completions.create(model="tiny", messages=HI, tools=BASH)
        )
        item = await waiting(running)
        assert item["call"]["name"] == "bash"
        assert running.bash.calls == []
        code = await asyncio.to_thread(main, [verb, item["id"], "--url", running.url])
        answer = await run

        assert code == 0
        assert answer.choices[0].message.content == "Done."
        assert running.bash.calls == ran


async def test_a_stream_tells_what_waits_and_its_client_can_decide(
    serve: Serve, policy: Path
) -> None:
    async with serve(CALL, FINAL, tool_policy=policy) as running, httpx.AsyncClient() as client:
        stream = await running.client.chat.completions.create(
            model="tiny", messages=HI, tools=BASH, stream=True
        )
        content = ""
        async for chunk in stream:
            delta: Any = chunk.choices[0].delta
            if item := getattr(delta, "approval", None):
                assert (item["call"], item["arguments"]) == ("bash", '{"command": "ls"}')
                url = f"{running.url}/v1/approvals/{item['id']}"
                assert (await client.post(url, json={"approve": True})).status_code == 200
            content += delta.content or ""
        assert content == "Done."
        assert running.bash.calls == ["ls"]


async def test_what_waits_is_shown_without_steering_the_terminal(
    serve: Serve, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = CALL.replace("ls", "ls \x9b8m; rm -rf ~ \u202e# \u200b")
    async with serve(hostile, FINAL, tool_policy=policy) as running:
        run = asyncio.create_task(
            running.client.chat.completions.create(model="tiny", messages=HI, tools=BASH)
        )
        item = await waiting(running)
        capsys.readouterr()
        await asyncio.to_thread(main, ["list", "--url", running.url])
        output = "".join(capsys.readouterr().out.split())
        await asyncio.to_thread(main, ["deny", item["id"], "--url", running.url])
        await run

    assert UNPRINTABLE.search(output) is None
    assert "rm-rf" in output


async def test_only_a_key_that_may_decide_lets_a_call_pass(
    serve: Serve, policy: Path, tmp_path: Path
) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    keys = [ApiKey(name="ann"), ApiKey(name="bob"), ApiKey(name="carl", may_decide=True)]
    ann, bob, carl = [await store.keys.create(key) for key in keys]
    store.close()
    async with serve(CALL, FINAL, CALL, FINAL, tool_policy=policy, api_key="root") as running:
        for decider in (carl, "root"):
            running.client.api_key = ann
            run = asyncio.create_task(
                running.client.chat.completions.create(model="tiny", messages=HI, tools=BASH)
            )
            item = await waiting(running, carl)
            assert [await listed(running, key) for key in (ann, bob)] == [[item], []]
            for key, name in ((ann, item["id"]), (bob, item["id"]), (bob, "appr_unknown")):
                refused = await decide(running, key, name)
                assert refused.status_code == 403
                assert "keys create NAME --may-decide" in refused.json()["error"]["message"]
            assert await listed(running, ann) == [item]
            assert running.bash.calls == (["ls"] if decider == "root" else [])
            assert (await decide(running, decider, item["id"])).status_code == 200
            await run

    assert running.bash.calls == ["ls", "ls"]


async def test_what_does_not_wait_can_not_be_decided(serve: Serve) -> None:
    async with serve() as running:
        with pytest.raises(OperatorError, match="no call waits"):
            await asyncio.to_thread(main, ["approve", "appr_x", "--url", running.url])


async def test_a_server_that_stops_ends_the_run_that_waits(serve: Serve, policy: Path) -> None:
    async with serve(CALL, tool_policy=policy, drain_s=0) as running:
        asked = running.client.chat.completions.create(model="tiny", messages=HI, tools=BASH)
        run = asyncio.create_task(asked)
        item = await waiting(running)
    with pytest.raises(openai.APIError):
        await run

    async with serve(tool_policy=policy) as again, httpx.AsyncClient() as client:
        [trajectory] = again.trajectories()
        assert trajectory.outcome is Outcome.CANCELLED
        assert [step.call.id for step in trajectory.steps if step.call] == [item["call"]["id"]]
        assert (await client.get(f"{again.url}/v1/approvals")).json()["data"] == []
        with pytest.raises(OperatorError, match="its run has ended"):
            await asyncio.to_thread(main, ["approve", item["id"], "--url", again.url])
        assert running.bash.calls == again.bash.calls == []
