import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from agentlm.agent.tool import Observation, ToolContext
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall
from agentlm.store import Store
from agentlm.tools.mcp.config import load_servers
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import Toolbox

MakeSettings = Callable[..., ToolSettings]
SERVERS = Path(__file__).parents[1] / "support" / "mcp_servers.py"


def config(folder: Path, **servers: Any) -> Path:
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


def program(name: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(SERVERS), name], **more}


Call = Callable[..., Awaitable[Observation]]


@asynccontextmanager
async def calling(settings: ToolSettings) -> AsyncIterator[Call]:
    toolbox = await Toolbox.open(settings, ("mcp",))
    tools = toolbox.for_request(["mcp"])

    async def run(name: str, **arguments: Any) -> Observation:
        call = ToolCall(id="call_1", name=f"test__{name}", arguments=json.dumps(arguments))
        return await tools.call(call, ToolContext("traj_1", "me"))

    try:
        yield run
    finally:
        await toolbox.close()


@pytest.fixture
async def call(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Call]:
    monkeypatch.setattr("agentlm.tools.mcp.connection._FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr("agentlm.tools.mcp.connection._PROBE_TIMEOUT_S", 0.5)
    path = config(tmp_path, test=program("wild"))
    async with calling(make_settings(mcp_config=path, tool_timeout_s=1.0)) as run:
        yield run


async def test_tools_of_an_official_server_are_ours(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    path = config(tmp_path, test=program("official"))
    async with calling(make_settings(mcp_config=path)) as call:
        assert (await call("add", a=2, b=3)).text == "5"
        assert (await call("add", a=2)).text == "3"
        failed = await call("fail", text="no such file")
        unfit = await call("add", a="two")
    assert failed.failed
    assert "no such file" in failed.text
    assert unfit.failed
    assert "the arguments do not fit: $.a: 'two' is not of type 'integer'" in unfit.text


async def test_a_server_gets_of_the_environment_what_the_file_says(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVEN_TOKEN", "given-to-this-server")
    monkeypatch.setenv("OTHER_TOKEN", "not-for-this-server")
    environment = {"KEY": "${GIVEN_TOKEN}", "AUTH": "fixed-in-the-file"}
    path = config(tmp_path, test=program("wild", env=environment))
    async with calling(make_settings(mcp_config=path)) as call:
        seen = (await call("environment")).text
    assert '"AUTH": "[AUTH removed]"' in seen
    assert '"KEY": "[' in seen
    assert "given-to-this-server" not in seen
    assert "not-for-this-server" not in seen


@pytest.mark.parametrize("way", ["hang", "die", "flood", "chatter", "complain"])
async def test_a_server_that_misbehaves_is_started_again(call: Call, way: str) -> None:
    observation = await call(way)
    assert observation.failed
    for _ in range(20):
        again = await call("behave")
        if not again.failed:
            break
        assert "not available" in again.text
        await asyncio.sleep(0.1)
    assert again.text == "well"


async def test_a_large_answer_is_shortened(call: Call) -> None:
    observation = await call("large")
    assert not observation.failed
    assert len(observation.text) < 17_000


async def test_schemas_and_names_that_lie_are_left_out(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    path = config(tmp_path, raw=program("lying"))
    toolbox = await Toolbox.open(make_settings(mcp_config=path), ("mcp",))
    tools = toolbox.for_request(["mcp"])
    (spec,) = tools.specs()
    assert spec.name == "raw__fine"
    assert spec.parameters == {
        "type": "object",
        "properties": {"x": {"type": "string"}},
        "required": ["x"],
    }
    call = ToolCall(id="call_1", name="raw__fine", arguments=json.dumps({"x": "a" * 40 + "!"}))
    assert (await tools.call(call, ToolContext("traj_1", "me"))).text == "called"
    await toolbox.close()


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"command": "/nowhere/at/all"}, "No such file"),
        (program("refusing"), "the licence has expired"),
        (program("garbage"), "x: "),
        (program("gross"), "x: .*inputSchema"),
        ({"url": "http://127.0.0.1:9/mcp"}, "x: "),
        ({"command": "a", "url": "b"}, "either a command or a url"),
        ({"command": "${NOT_SET_ANYWHERE}"}, "NOT_SET_ANYWHERE is not set"),
        ("nonsense", "Input should be"),
    ],
)
async def test_a_server_that_does_not_start_is_the_operators_error(
    make_settings: MakeSettings, tmp_path: Path, server: Any, reason: str
) -> None:
    settings = make_settings(mcp_config=config(tmp_path, x=server))
    with pytest.raises(OperatorError, match=reason) as caught:
        await Toolbox.open(settings, ("mcp",))
    assert "\n" not in str(caught.value)


async def test_a_server_that_never_answers_is_given_up(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentlm.tools.mcp.connection._START_TIMEOUT_S", 0.5)
    settings = make_settings(mcp_config=config(tmp_path, x=program("silent")))
    with pytest.raises(OperatorError, match="did not answer in time"):
        await Toolbox.open(settings, ("mcp",))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"mcpServers": 3}', '{"mcpServers": {"a__b": {}}}']
)
def test_a_file_that_is_none_is_the_operators_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "mcp.json").write_text(text)
    with pytest.raises(OperatorError, match="mcp_config"):
        load_servers(tmp_path / "mcp.json")


async def test_streamable_http_is_spoken_too(make_settings: MakeSettings, tmp_path: Path) -> None:
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    mcp_server = MCPServer("over-http")

    @mcp_server.tool()
    def double(x: int) -> str:
        """Double a number."""
        return str(2 * x)

    app = mcp_server.streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    path = config(tmp_path, web={"url": f"http://127.0.0.1:{port}/mcp"})
    toolbox = await Toolbox.open(make_settings(mcp_config=path), ("mcp",))
    call = ToolCall(id="call_1", name="web__double", arguments='{"x": 4}')
    observation = await toolbox.for_request(["mcp"]).call(call, ToolContext("traj_1", "me"))
    await toolbox.close()
    server.should_exit = True
    await serving
    assert observation.text == "8"


async def test_our_tools_are_offered_to_the_official_client(tmp_path: Path, chinook: Path) -> None:
    arguments = ["-m", "agentlm.tools.mcp_server", "--data-dir", str(tmp_path)]
    arguments += ["--sql-url", f"sqlite:///{chinook}", "--tools", "bash", "--tools", "sql"]
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools: {sql_tables: ask}")
    arguments += ["--tool-policy", str(policy)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    command = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
    async with Client(command) as client:
        listed = await client.list_tools()
        names = [tool.name for tool in listed.tools]
        await client.call_tool("bash", {"command": "x=5; cd /tmp"})
        kept = await client.call_tool("bash", {"command": "echo $x; pwd"})
        refused = await client.call_tool("sql", {"statement": "DELETE FROM Artist"})
        unasked = await client.call_tool("sql_tables", {})
    assert names == ["bash", "sql_tables", "sql_schema", "sql"]
    assert kept.content[0].text == "5\n/tmp"  # type: ignore[union-attr]
    assert refused.is_error
    assert "nobody can be asked" in unasked.content[0].text  # type: ignore[union-attr]
    assert not list((tmp_path / "sandboxes").iterdir())
    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    rows, _ = store.audit.page("mcp")
    store.close()
    verdicts = [(record.tool, record.verdict) for _, record in rows]
    assert verdicts == [("sql_tables", "denied"), ("sql", "failed"), ("bash", "ok"), ("bash", "ok")]
