import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentlm.agent.tool import Observation, Tool, ToolContext
from agentlm.errors import OperatorError, RequestError
from agentlm.messages import ToolCall
from agentlm.tools import toolbox as toolbox_module
from agentlm.tools.audit import AuditRecord, log_audit
from agentlm.tools.schema import compact
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import FAMILIES, Toolbox

together = pytest.mark.asyncio(loop_scope="module")
"""Tests that share a toolbox."""
MakeSettings = Callable[..., ToolSettings]
_AUDITED: list[AuditRecord] = []


@pytest.fixture
def audited() -> list[AuditRecord]:
    _AUDITED.clear()
    return _AUDITED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toolbox(
    tmp_path_factory: pytest.TempPathFactory, chinook: Path
) -> AsyncIterator[Toolbox]:
    async def audit(record: AuditRecord) -> None:
        _AUDITED.append(record)

    settings = ToolSettings(
        data_dir=tmp_path_factory.mktemp("toolbox"),
        sql_url=f"sqlite:///{chinook}",
        tool_output_chars=400,
    )
    opened = await Toolbox.open(settings, ("bash", "sql"), audit)
    yield opened
    await opened.close()


async def call(toolbox: Toolbox, name: str, arguments: Any) -> Observation:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    tools = toolbox.for_request(["bash", "sql"])
    return await tools.call(ToolCall(id="call_1", name=name, arguments=text), _CONTEXT)


_CONTEXT = ToolContext(trajectory_id="traj_1", owner="me")


@together
async def test_a_run_gets_the_tools_of_the_families_it_named(toolbox: Toolbox) -> None:
    names = [spec.name for spec in toolbox.for_request(["sql", "bash"]).specs()]
    assert names == ["bash", "sql_tables", "sql_schema", "sql"]
    assert [spec.name for spec in toolbox.for_request(["bash"]).specs()] == ["bash"]


@together
async def test_a_spec_is_compact_and_complete(toolbox: Toolbox) -> None:
    (spec,) = toolbox.for_request(["bash"]).specs()
    assert spec.owner == "server"
    assert spec.description.startswith("Run a command in a bash shell")
    assert spec.parameters == {
        "additionalProperties": False,
        "properties": {
            "command": {
                "description": "The command line or script to run.",
                "maxLength": 100_000,
                "minLength": 1,
                "type": "string",
            }
        },
        "required": ["command"],
        "type": "object",
    }


def test_properties_that_are_named_title_stay() -> None:
    schema = {"title": "T", "properties": {"title": {"title": "Title", "type": "string"}}}
    assert compact(schema) == {"properties": {"title": {"type": "string"}}}


@together
async def test_both_tools_answer_and_every_call_is_audited(
    toolbox: Toolbox, audited: list[AuditRecord]
) -> None:
    listed = await call(toolbox, "bash", {"command": "echo hi"})
    rows = await call(toolbox, "sql", {"statement": "SELECT 1 AS one"})
    assert (listed.text, listed.failed) == ("hi", False)
    assert rows.text == "one\n1\n(1 row)"
    assert [(record.tool, record.verdict) for record in audited] == [("bash", "ok"), ("sql", "ok")]
    assert "echo hi" not in audited[0].model_dump_json()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rm", {}, "there is no tool 'rm'; the tools are: bash, sql_tables"),
        ("bash", "{not json", "the arguments are not JSON"),
        ("bash", "[]", "arguments must be a JSON object"),
        ("bash", {}, "command: Field required"),
        ("bash", {"command": "ls", "sudo": True}, "sudo: Extra inputs are not permitted"),
        ("bash", {"command": "a\0b"}, "NUL"),
        ("sql", {"statement": "DROP TABLE Artist"}, "can only be read"),
        ("bash", '{"command": ' * 5000, "nested too deeply"),
    ],
)
@together
async def test_what_the_model_can_mend_is_a_failed_observation(
    toolbox: Toolbox, name: str, arguments: Any, message: str
) -> None:
    observation = await call(toolbox, name, arguments)
    assert observation.failed
    assert message in observation.text


@together
async def test_an_observation_keeps_within_its_budget(toolbox: Toolbox) -> None:
    observation = await call(toolbox, "bash", {"command": "seq 1 9999"})
    assert len(observation.text) < 500
    assert "left out" in observation.text


@together
async def test_an_unknown_type_is_the_callers_error(toolbox: Toolbox) -> None:
    with pytest.raises(RequestError, match="no tools of type 'browser'; it has: bash, sql") as got:
        toolbox.for_request(["browser"])
    assert got.value.param == "tools"


@pytest.mark.parametrize(
    ("changed", "family", "remedy"),
    [
        ({}, "web", "mend what 'agentlm doctor --tools web' says"),
        ({}, "mcp", "name servers by --mcp-config"),
        ({"tools": ("sql",)}, "web", "add web to --tools"),
        ({"tools": ("sql",)}, "mcp", "name servers by --mcp-config and add mcp to --tools"),
        ({"tools": ("sql",), "tool_files": (Path("air.py"),)}, "air", "add air to --tools"),
        ({}, "teleport", None),
    ],
)
def test_what_would_offer_a_family_is_said(
    make_settings: MakeSettings, changed: Any, family: str, remedy: str | None
) -> None:
    assert Toolbox(make_settings(**changed), log_audit).remedy(family) == remedy


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tool_files", (Path("none.py"),)),
        ("mcp_config", Path("none.json")),
        ("web_search", "none.db"),
        ("graph", Path("none")),
        ("sql_url", "sqlite:///none.db"),
    ],
)
async def test_what_the_settings_configure_has_to_work(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, setting: str, value: Any
) -> None:
    async def nowhere(_settings: ToolSettings) -> tuple[Tool, ...]:
        raise OperatorError("not on this machine")

    monkeypatch.setattr(toolbox_module, "FAMILIES", {**FAMILIES, "bash": nowhere})
    with pytest.raises(OperatorError, match="none"):
        await Toolbox.open(make_settings(**{setting: value}))


async def test_a_file_of_tools_that_is_not_named_is_not_left_out_in_silence(
    make_settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.py").write_text("")
    settings = make_settings(tools=("sql",), tool_files=(tmp_path / "mine.py",))
    await (await Toolbox.open(settings)).close()
    assert "mine is configured, but --tools does not name it" in caplog.text


async def test_a_file_of_tools_does_not_stand_in_the_place_of_a_family(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "bash.py").write_text("")
    with pytest.raises(OperatorError, match="bash is a family of AgentLM's"):
        await Toolbox.open(make_settings(tool_files=(tmp_path / "bash.py",)))


async def test_an_unknown_family_is_the_operators_error(make_settings: MakeSettings) -> None:
    with pytest.raises(OperatorError, match="unknown tools teleport; known: bash, sql"):
        await Toolbox.open(make_settings(tools=("teleport",)))


async def test_a_database_that_was_named_must_be_reached(tmp_path: Path) -> None:
    url = "postgresql+psycopg://ann:secret@127.0.0.1:1/x"
    with pytest.raises(OperatorError) as caught:
        await Toolbox.open(ToolSettings(data_dir=tmp_path, sql_url=url))

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
