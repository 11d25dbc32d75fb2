"""What an operator says about tools, as a client of the server meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.prompt.observation import observed
from agentlm.store import ApiKey, Store
from agentlm.trajectory import Outcome
from support.serving import Running, Serve

HI: Any = [{"role": "user", "content": "Hi"}]
BOTH: Any = [{"type": "bash"}, {"type": "sql"}]
FINAL = "Thought: t\nFinal Answer: Done."
POLICY = "default: allow\nkeys: {bob: {bash: deny}}\n"


def command(text: str) -> str:
    return f'Thought: I run it.\nAction: bash\nAction Input: {{"command": "{text}"}}'


async def keys_of(tmp_path: Path, *names: str) -> list[str]:
    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    secrets = [await store.keys.create(ApiKey(name=name)) for name in names]
    store.close()
    return secrets


def log_of(tmp_path: Path) -> bytes:
    return b"".join(path.read_bytes() for path in tmp_path.glob("agentlm.db*"))


async def converse(running: Running, **more: Any) -> str:
    """A turn; returns the trajectory's id."""
    raw = await running.client.chat.completions.with_raw_response.create(
        model="tiny", messages=HI, tools=BOTH, **more
    )
    return raw.headers["x-trajectory-id"]


async def test_a_key_is_held_to_its_policy_and_each_call_leaves_a_row(
    serve: Serve, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    secrets = await keys_of(tmp_path, "ann", "bob")
    replies = (command("echo hi"), FINAL, command("echo hi"))
    async with serve(*replies, tools=("bash", "sql"), tool_policy=policy) as running:
        observations, audited = [], []
        for secret in secrets:
            running.client.api_key = secret
            observations.append(running.trajectory(await converse(running)))
            headers = {"authorization": f"Bearer {secret}"}
            async with httpx.AsyncClient(headers=headers) as client:
                audited.append((await client.get(f"{running.url}/v1/audit")).json()["data"])

    allowed, denied = observations
    assert [spec.name for spec in allowed.tools][:2] == ["bash", "sql_tables"]
    assert "bash" not in [spec.name for spec in denied.tools]
    assert "a bash shell" not in denied.steps[0].text
    assert "hi" in [observed(step.text) for step in allowed.steps]
    assert denied.outcome is not Outcome.COMPLETED
    [[row], none] = audited
    assert (row["tool"], row["verdict"], row["owner"]) == ("bash", "ok", "ann")
    assert row["trajectory_id"] == allowed.id
    assert none == []


@pytest.mark.parametrize(
    ("settings", "asked", "outcome"),
    [
        ({"max_turns": 2}, {}, Outcome.LIMIT),
        ({"run_tool_s": 0.2}, {}, Outcome.COMPLETED),
        ({}, {"max_tokens": 60}, Outcome.LIMIT),
    ],
)
async def test_a_run_keeps_within_its_budget(
    serve: Serve, settings: dict[str, Any], asked: dict[str, Any], outcome: Outcome
) -> None:
    replies = [command(f"sleep 0.3; echo {number}") for number in range(3)]
    async with serve(*replies, FINAL, tools=("bash",), **settings) as running:
        raw = await running.client.chat.completions.with_raw_response.create(
            model="tiny", messages=HI, tools=BOTH[:1], **asked
        )
        record = running.trajectory(raw.headers["x-trajectory-id"])
    results = [step.text for step in record.steps if step.role == "tool"]
    assert record.outcome is outcome
    if "run_tool_s" in settings:
        assert "have used their 0.2 s" in results[1]
    else:
        assert len(results) < 3


async def test_a_secret_of_the_server_is_in_no_log(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_TOKEN", "tok-1234567890")
    own = tmp_path / "leaky.py"
    own.write_text(
        "import os\n"
        "def leak() -> str:\n"
        "    '''Tell a variable of the server.'''\n"
        "    return os.environ['BROKER_TOKEN']\n"
    )
    replies = (
        "Thought: t\nAction: leak\nAction Input: {}",
        command("env; cat /proc/*/environ"),
        FINAL,
    )
    options = {"tools": ("bash", "leaky"), "tool_files": (own,)}
    async with serve(*replies, **options) as running, httpx.AsyncClient() as client:
        answer = await running.client.chat.completions.create(
            model="tiny:agent", messages=HI, stream=False
        )
        record = (await client.get(f"{running.url}/v1/trajectories/{answer.id}")).json()
        seen = json.dumps(record) + answer.model_dump_json()
    assert "[BROKER_TOKEN removed]" in seen
    assert "tok-1234567890" not in seen
    assert b"tok-1234567890" not in log_of(tmp_path)
