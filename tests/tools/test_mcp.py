import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest

from agentlm.agent.tool import Observation, ToolContext
from agentlm.commands.doctor import DoctorSettings, check_mcp
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall
from agentlm.store import Store
from agentlm.tools.mcp.answers import Answers, Unreadable
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


async def test_an_odd_tool_is_left_out_alone_and_doctor_names_it(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    path = config(tmp_path, test=program("odd"))
    toolbox = await Toolbox.open(make_settings(mcp_config=path), ("mcp",))
    tools = toolbox.for_request(["mcp"])
    specs = {spec.name: spec for spec in tools.specs()}
    await toolbox.close()
    names = ["half", "loose", "dot_ted", "fine"]
    assert list(specs) == [f"test__{name}" for name in names]
    assert specs["test__half"].description == "?"
    assert specs["test__loose"].parameters == {
        "type": "object",
        "properties": {"x": {}, "y": {}},
        "required": ["x"],
    }
    settings = DoctorSettings(data_dir=tmp_path, mcp_config=path)
    found = await asyncio.to_thread(check_mcp, settings)
    assert found.startswith("4 tools of 1 servers; ")
    for name in ("'none'", "'null'", "'string'", "'list'", "'nested'", "5", "'a b'", "'dot_ted'"):
        assert f"test: tool {name} is left out: " in found, name


@pytest.mark.parametrize(
    "way",
    [
        "cut",
        "no id",
        "unread",
        "no content",
        "no list",
        "no object",
        "unknown",
        "neither",
    ],
)
async def test_an_odd_result_fails_its_call_at_once_and_no_other(odd: Call, way: str) -> None:
    async with asyncio.timeout(5):  # of a time-out of 30 s
        failed = await odd("fine", way=way)
        assert failed.failed, failed.text
        assert "can't be read" in failed.text
        assert (await odd("fine", way="well")).text == "well"  # a new connection would have to wait


async def test_a_call_that_was_given_up_is_not_taken_for_the_one_that_waits() -> None:
    answers = Answers()
    for number in (1, 2):
        request = JSONRPCRequest(jsonrpc="2.0", id=number, method="tools/call", params={})
        answers.sent(SessionMessage(request))
    cut = Unreadable(b'{"jsonrpc": "2.0", "result": {')
    assert await answers.arrived(cut) is cut  # of which of the two can't be told
    params = {"requestId": 1}
    cancelled = JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params)
    answers.sent(SessionMessage(cancelled))
    failure = await answers.arrived(cut)
    assert isinstance(failure, SessionMessage)
    assert isinstance(failure.message, JSONRPCError)
    assert failure.message.id == 2


@pytest.mark.parametrize(("way", "text"), [("batch", "well"), ("logs", "well"), ("half", "?")])
async def test_a_result_is_read_whatever_is_around_it(odd: Call, way: str, text: str) -> None:
    assert (await odd("fine", way=way)).text == text


@pytest.fixture
async def odd(make_settings: MakeSettings, tmp_path: Path) -> AsyncIterator[Call]:
    async with calling(make_settings(mcp_config=config(tmp_path, test=program("odd")))) as run:
        yield run


async def test_images_and_structured_content_and_annotations_pass_through(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    path = config(tmp_path, test=program("rich"))
    async with calling(make_settings(mcp_config=path)) as call:
        observation = await call("draw")
    assert observation.text == 'a picture\n(image, image/png, not shown)\n{"size": 5}'
    arguments = ["-m", "agentlm.cli", "mcp", "--data-dir", str(tmp_path), "--tools", "mcp"]
    command = StdioServerParameters(
        command=sys.executable,
        args=[*arguments, "--mcp-config", str(path)],
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    async with Client(command) as client:
        (tool,) = (await client.list_tools()).tools
        result = await client.call_tool("test__draw", {})
    assert tool.annotations
    assert tool.annotations.model_dump(exclude_none=True) == {
        "title": "Draws",
        "read_only_hint": True,
        "open_world_hint": False,
    }
    text, image = result.content
    assert text.type == "text"
    assert image.type == "image"
    assert (image.data, image.mime_type) == ("aGVsbG8=", "image/png")
    assert image.annotations
    assert image.annotations.audience == ["user"]
    assert result.structured_content == {"size": 5}


GREETING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}


@asynccontextmanager
async def speaking(tmp_path: Path, *arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentlm.cli", "mcp", "--data-dir", str(tmp_path), *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": os.defpath},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ask(process: Process, line: bytes) -> Any:
    assert process.stdin
    assert process.stdout
    process.stdin.write(line + b"\n")
    async with asyncio.timeout(20):
        return json.loads(await process.stdout.readline())


async def test_a_line_that_is_no_message_is_answered_at_once(tmp_path: Path) -> None:
    lines: dict[bytes, tuple[int, Any]] = {
        b"nonsense": (-32700, None),
        b'{"jsonrpc": "2.0", "id": 2, "method"': (-32700, None),
        b"\xff\xfe": (-32700, None),
        b"[" * 5000: (-32700, None),
        b"[]": (-32600, None),
        b"5": (-32600, None),
        b'{"id": 3, "method": "tools/list"}': (-32600, 3),
        b'{"jsonrpc": "2.0", "id": "four"}': (-32600, "four"),
        b'{"jsonrpc": "2.0", "id": 5, "method": 6}': (-32600, 5),
        b'\n{"jsonrpc": "1.0", "id": 6, "method": "ping", "result": {}}': (-32600, 6),
    }
    async with speaking(tmp_path, "--tools", "sql") as process:
        assert (await ask(process, json.dumps(GREETING).encode()))["result"]["serverInfo"]
        for line, (code, request) in lines.items():
            answer = await ask(process, line)
            assert (answer["error"]["code"], answer["id"]) == (code, request), line[:80]
        assert (await ask(process, b'{"jsonrpc": "2.0", "id": 7, "method": "ping"}'))["id"] == 7


async def test_a_client_is_greeted_before_the_tools_are_open(tmp_path: Path) -> None:
    path = config(tmp_path, x=program("silent"))
    async with speaking(tmp_path, "--tools", "mcp", "--mcp-config", str(path)) as process:
        assert (await ask(process, json.dumps(GREETING).encode()))["id"] == 1
        assert process.stdin
        process.stdin.close()
        async with asyncio.timeout(20):
            await process.wait()


async def test_a_client_is_told_why_the_tools_do_not_open(tmp_path: Path) -> None:
    path = config(tmp_path, x=program("refusing"))
    async with speaking(tmp_path, "--tools", "mcp", "--mcp-config", str(path)) as process:
        await ask(process, json.dumps(GREETING).encode())
        answer = await ask(process, b'{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}')
        assert "the licence has expired" in answer["error"]["message"]
        assert process.stdin
        process.stdin.close()
        _, complaint = await process.communicate()
    assert process.returncode == 2
    assert b"the licence has expired" in complaint


def test_greeting_imports_neither_database_nor_tools() -> None:
    program = "import agentlm.tools.mcp_server, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    heavy = {"sqlalchemy", "sqlmodel", "httpx", "trafilatura", "torch", "agentlm.tools.toolbox"}
    assert not heavy & set(ran.stdout.split()), ran.stderr


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"command": "/nowhere/at/all"}, "No such file"),
        (program("refusing"), "the licence has expired"),
        (program("garbage"), "x: "),
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
    arguments = ["-m", "agentlm.cli", "mcp", "--data-dir", str(tmp_path)]
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
    read_only = [tool.annotations.read_only_hint for tool in listed.tools if tool.annotations]
    assert read_only == [False, True, True, True]
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
