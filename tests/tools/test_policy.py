import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentlm.agent.tool import Observation, ToolContext
from agentlm.errors import NotFoundError, OperatorError
from agentlm.messages import ToolCall
from agentlm.tools.approvals import ApprovalItem, Decision
from agentlm.tools.audit import AuditRecord
from agentlm.tools.permissions import Permissions, load_permissions
from agentlm.tools.secrets import Secrets, password_of, secret_values
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import Toolbox

MakeSettings = Callable[..., ToolSettings]
SELECT = ToolCall(id="call_1", name="sql", arguments='{"statement": "SELECT 1"}')
CONTEXT = ToolContext("traj_1", "alice")
POLICY = """
default: allow
tools: {sql: ask, "sql_*": deny}
keys: {bob: {"*": deny}, carol: {sql: allow}}
"""


@asynccontextmanager
async def opened(
    settings: ToolSettings, families: Sequence[str] = ("sql",)
) -> AsyncIterator[tuple[Toolbox, list[AuditRecord]]]:
    audited: list[AuditRecord] = []

    async def audit(record: AuditRecord) -> None:
        audited.append(record)

    toolbox = await Toolbox.open(settings, families, audit)
    try:
        yield toolbox, audited
    finally:
        await toolbox.close()


def with_policy(folder: Path, text: str = POLICY) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


def test_a_key_comes_before_everybody_and_a_name_before_a_pattern() -> None:
    policy = Permissions.model_validate(
        {
            "default": "ask",
            "tools": {"bash": "deny", "git__*": "deny", "git__read_*": "allow"},
            "keys": {"alice": {"b*": "allow"}},
        }
    )
    assert policy.permission("bash", "alice") == "allow"
    assert policy.permission("bash", "bob") == "deny"
    assert policy.permission("git__read_file", "bob") == "allow"
    assert policy.permission("git__push", "bob") == "deny"
    assert policy.permission("sql", "bob") == "ask"


@pytest.mark.parametrize("text", ["tools: {bash: maybe}", "toolz: {}", "[1, 2", "- a"])
def test_a_file_that_is_no_policy_is_the_operators_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(OperatorError, match="is not a policy"):
        load_permissions(with_policy(tmp_path, text))
    with pytest.raises(OperatorError, match="No such file"):
        load_permissions(tmp_path / "nowhere.yaml")


async def test_of_a_denied_tool_the_model_is_not_told(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(tool_policy=with_policy(tmp_path))
    async with opened(settings) as (toolbox, _):
        offered = toolbox.for_request(["sql"], owner="alice")
        assert [spec.name for spec in offered.specs()] == ["sql"]
        assert toolbox.for_request(["sql"], owner="bob").specs() == ()
        refused = await toolbox.for_request(["sql"], owner="bob").call(SELECT, CONTEXT)
    assert "there is no tool 'sql'" in refused.text


async def test_ask_pauses_the_run_until_it_is_approved(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(tool_policy=with_policy(tmp_path))
    async with opened(settings) as (toolbox, audited):
        items: list[ApprovalItem] = []
        tools = toolbox.for_request(["sql"], owner="alice", on_pending=items.append)
        running = asyncio.create_task(tools.call(SELECT, CONTEXT))
        await asyncio.sleep(0.1)
        assert not running.done()
        assert toolbox.approvals.pending("alice") == items
        assert toolbox.approvals.pending("bob") == []
        assert items[0].call == SELECT
        toolbox.approvals.decide(items[0].id, Decision(approve=True))
        observation = await running
        assert observation.text == "1\n1\n(1 row)"
        assert observation.seconds < 0.1
        with pytest.raises(NotFoundError):
            toolbox.approvals.decide(items[0].id, Decision(approve=True))
    assert [record.verdict for record in audited] == ["ok"]


async def test_a_denial_is_told_to_the_model_and_the_call_is_not_run(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(tool_policy=with_policy(tmp_path))
    async with opened(settings) as (toolbox, audited):

        def deny(item: ApprovalItem) -> None:
            decision = Decision(approve=False, reason="not on production")
            toolbox.approvals.decide(item.id, decision)

        tools = toolbox.for_request(["sql"], owner="alice", on_pending=deny)
        observation = await tools.call(SELECT, CONTEXT)
    assert observation.failed
    assert observation.text == "sql was not allowed to run: not on production"
    assert [record.verdict for record in audited] == ["denied"]


async def test_no_decision_in_time_is_a_denial_and_a_cancelled_run_waits_no_more(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(tool_policy=with_policy(tmp_path), approval_wait_s=0.2)
    async with opened(settings) as (toolbox, audited):
        tools = toolbox.for_request(["sql"], owner="alice")
        unanswered = await tools.call(SELECT, CONTEXT)
        assert "nobody approved it in time" in unanswered.text
        assert unanswered.seconds < 0.1
        running = asyncio.create_task(tools.call(SELECT, CONTEXT))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert toolbox.approvals.pending() == []
    assert [record.verdict for record in audited] == ["denied", "cancelled"]


async def test_a_run_has_a_budget_of_tool_seconds(make_settings: MakeSettings) -> None:
    async with opened(make_settings(run_tool_s=0.3), ["bash"]) as (toolbox, audited):
        tools = toolbox.for_request(["bash"])

        async def sleep() -> Observation:
            call = ToolCall(id="call_1", name="bash", arguments='{"command": "sleep 0.4"}')
            return await tools.call(call, CONTEXT)

        await sleep()
        refused = await sleep()
        fresh = await toolbox.for_request(["bash"]).call(
            ToolCall(id="call_1", name="bash", arguments='{"command": "true"}'), CONTEXT
        )
    assert "the tools of this run have used their 0.3 s" in refused.text
    assert not fresh.failed
    assert [record.verdict for record in audited] == ["ok", "denied", "ok"]


async def test_secrets_of_the_server_are_in_no_observation(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-1234567890")
    monkeypatch.setenv("BROKER_URL", "amqp://me:p%40ssw0rd!@queue.example/")
    own = tmp_path / "leaky.py"
    own.write_text(
        "import os\n"
        "def leak(name: str) -> str:\n"
        "    '''Tell a variable of the server.'''\n"
        "    return os.environ[name] + ' p@ssw0rd!'\n"
    )
    async with opened(make_settings(tool_files=(own,)), ["leaky", "bash"]) as (toolbox, _):
        tools = toolbox.for_request(["leaky", "bash"])
        arguments = json.dumps({"name": "SOME_API_KEY"})
        call = ToolCall(id="call_1", name="leak", arguments=arguments)
        leaked = await tools.call(call, CONTEXT)
        shell = ToolCall(
            id="call_2", name="bash", arguments='{"command": "env; cat /proc/*/environ"}'
        )
        observation = await tools.call(shell, CONTEXT)
    assert leaked.text.startswith("[SOME_API_KEY removed] [password")
    assert "sk-1234567890" not in observation.text
    assert "SOME_API_KEY" not in observation.text


def test_secrets_are_told_by_their_names_and_length() -> None:
    values = secret_values(
        {
            "PATH": "/usr/bin",
            "HF_TOKEN": "hf_abcdefgh",
            "PIN_KEY": "1234",
            "X_AUTH": "Bearer abcdefghij",
        },
        ["postgresql://me:longpassword@db/x", None],
    )
    secrets = Secrets(values)
    assert secrets.scrub("a hf_abcdefgh b 1234 c") == "a [HF_TOKEN removed] b 1234 c"
    assert "longpassword" not in secrets.scrub("longpassword")
    assert secrets.scrub("abcdefghij") == "[X_AUTH removed]"
    assert Secrets({}).scrub("nothing") == "nothing"
    assert password_of("http://[broken") is None
