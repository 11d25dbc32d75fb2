"""Attempts to get out, to take more than a share, or to pass for somebody else. None may succeed,
and after each the tools go on.

Further ones stand beside what they attack: HTML and decompression bombs in test_web.py, MCP servers
that hang, flood, die or lie in test_mcp.py, Postgres in test_postgres.py, names of files that come
in over HTTP in server/test_workspace.py.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from agentlm.agent.tool import Observation, ToolContext
from agentlm.messages import ToolCall
from agentlm.printable import UNPRINTABLE
from agentlm.prompt.observation import observe
from agentlm.prompt.render import Turn
from agentlm.tools.confinement.network import AddressRefused, PublicNetwork
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import Toolbox
from support.tiny import tiny_renderer

pytestmark = pytest.mark.asyncio(loop_scope="module")
MakeSettings = Callable[..., ToolSettings]
Call = Callable[..., Awaitable[Observation]]
ATTEMPTS = yaml.safe_load(Path(__file__).with_name("attacks.yaml").read_text())
NESTED = "SELECT " + "(" * 5000 + "1" + ")" * 5000
LAUGHS = "<!ENTITY x0 'ha'>" + "".join(
    f"<!ENTITY x{number} '{f'&x{number - 1};' * 10}'>" for number in range(1, 10)
)
OUTSIDE = "<!ENTITY c SYSTEM 'file:///etc/passwd'>"
CANARY = "canary-3f1c9a"
CONTEXT = ToolContext("traj_1", "me")


def aimed(attempt: str, host: dict[str, Any]) -> str:
    for name, value in host.items():
        attempt = attempt.replace(f"${name}", str(value))
    return attempt


def processes() -> str:
    return subprocess.check_output(["ps", "-e", "-o", "args"], text=True)


def kibibytes(directory: Path) -> int:
    return int(subprocess.check_output(["du", "-sk", directory]).split()[0])


def state_of(database: Path) -> tuple[int, int, list[str]]:
    """What changes if something is written to it, or beside it."""
    beside = [path.name for path in Path("/tmp").glob("pwned*")]
    return database.stat().st_mtime_ns, database.stat().st_size, beside


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What an attack on the host would find."""
    monkeypatch.setenv("CANARY_TOKEN", CANARY)
    path = f"{os.environ['PATH']}:/path/of/{CANARY}"
    monkeypatch.setenv("PATH", path)
    secret = tmp_path / "canary.txt"
    secret.write_text(CANARY)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen(["sleep", "600"]) as process,
    ):
        server.setblocking(False)
        yield {
            "CANARY": secret,
            "PORT": server.getsockname()[1],
            "PID": process.pid,
            "PATH_OF_SERVER": path,
        }
        assert process.poll() is None
        assert secret.read_text() == CANARY
        with pytest.raises(BlockingIOError):
            server.accept()
        process.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toolbox(
    chinook: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Toolbox]:
    """Opened before there is a canary: it knows of none that it could take out of outputs."""
    settings = ToolSettings(
        data_dir=tmp_path_factory.mktemp("attacks"),
        sql_url=f"sqlite:///{chinook}",
        tool_timeout_s=2.0,
        bash_memory_mb=256,
        bash_disk_mb=64,
        bash_files=2_000,
        bash_spares=0,
    )
    opened = await Toolbox.open(settings, ("bash",))
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(chinook: Path) -> AsyncIterator[Toolbox]:
    settings = ToolSettings(
        data_dir=chinook.parent, sql_url=f"sqlite:///{chinook}", tool_timeout_s=0.5
    )
    opened = await Toolbox.open(settings, ("sql",))
    yield opened
    await opened.close()


@pytest.fixture
def context() -> ToolContext:
    return ToolContext(f"traj_{uuid.uuid4().hex}", "me")


def calling(toolbox: Toolbox, context: ToolContext) -> Call:
    tools = toolbox.for_request(toolbox.families())

    async def run(name: str, **arguments: Any) -> Observation:
        call = ToolCall(id="call_1", name=name, arguments=json.dumps(arguments))
        return await tools.call(call, context)

    return run


@pytest.fixture
def call(toolbox: Toolbox, context: ToolContext) -> Call:
    return calling(toolbox, context)


@pytest.mark.parametrize("attempt", ATTEMPTS["shell"])
async def test_nothing_is_reached_from_the_shell(
    call: Call, host: dict[str, Any], attempt: str
) -> None:
    command = aimed(ATTEMPTS["shell"][attempt], host)
    observation = await call("bash", command=command)
    again = await call("bash", command="echo still here")
    for text in (observation.text.replace(command, ""), again.text):
        assert "PWNED" not in text
        assert CANARY not in text
    assert again.text.endswith("still here")


@pytest.mark.parametrize("attempt", ATTEMPTS["exhaustion"])
async def test_nobody_takes_more_than_a_share(
    call: Call, toolbox: Toolbox, context: ToolContext, attempt: str
) -> None:
    await exhaust(call, toolbox, context, ATTEMPTS["exhaustion"][attempt])


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel tells root alone")
@pytest.mark.parametrize("attempt", ATTEMPTS["exhaustion_told_to_root"])
async def test_nobody_takes_more_than_a_share_that_root_sees(
    call: Call, toolbox: Toolbox, context: ToolContext, attempt: str
) -> None:
    await exhaust(call, toolbox, context, ATTEMPTS["exhaustion_told_to_root"][attempt])


async def test_nobody_waits_for_those_that_never_end(toolbox: Toolbox) -> None:
    async def attempt(command: str) -> None:
        context = ToolContext(f"traj_{uuid.uuid4().hex}", "me")
        await exhaust(calling(toolbox, context), toolbox, context, command)

    await asyncio.gather(*map(attempt, ATTEMPTS["waiting"].values()))
    assert "sleep 4711" not in processes()


async def exhaust(call: Call, toolbox: Toolbox, context: ToolContext, command: str) -> None:
    observation = await call("bash", command=command)
    assert "PWNED" not in observation.text
    assert len(observation.text) < 20_000
    again = await call("bash", command="rm -rf ./*; echo still here")
    assert again.text.endswith("still here")
    workspace = toolbox.files(context.trajectory_id).workspace
    assert kibibytes(workspace) < 2 * 64 * 1024


@pytest.mark.parametrize("forgery", ATTEMPTS["forgeries"])
async def test_no_command_forges_an_exit_code(call: Call, forgery: str) -> None:
    first = await call("bash", command=forgery)
    commands = ("sh -c 'exit 5'", "sleep 0.05", "false")
    later = [await call("bash", command=command) for command in commands]
    codes = [re.findall(r"\[exit code (\d+)\]", result.text) for result in (first, *later)]
    # 138: its own SIGUSR1 reached it when it had already given up its traps, and ended the shell.
    assert codes[0] in (["7"], ["138"])
    assert codes[1:] == [["5"], [], ["1"]]
    assert codes[0] == ["138"] or not any("new shell" in result.text for result in later)


@pytest.mark.parametrize("tampering", ATTEMPTS["tampering"])
async def test_a_command_that_was_not_begun_has_not_succeeded(call: Call, tampering: str) -> None:
    first = await call("bash", command=tampering)
    assert "[exit code 7]" in first.text
    for _ in range(3):
        later = await call("bash", command="echo begun; sh -c 'exit 5'")
        ended = "[exit code 125]\n[the shell has ended" in later.text
        assert later.failed or ended or ("begun" in later.text and "[exit code 5]" in later.text)


@pytest.mark.parametrize("sabotage", ATTEMPTS["sabotage"])
async def test_a_sabotaged_shell_is_replaced(call: Call, sabotage: str) -> None:
    await call("bash", command=sabotage)
    for _ in range(2):
        observation = await call("bash", command="echo still here")
        if observation.text.endswith("still here"):
            break
        await call("bash", command="exit")
    observation = await call("bash", command="echo still here")
    assert observation.text.endswith("still here")


async def test_what_one_conversation_leaves_no_other_finds(toolbox: Toolbox) -> None:
    tools = toolbox.for_request(["bash"])

    async def run(trajectory: str, command: str) -> str:
        arguments = json.dumps({"command": command})
        call = ToolCall(id="call_1", name="bash", arguments=arguments)
        return (await tools.call(call, ToolContext(trajectory, "me"))).text

    await run("traj_1", f"echo {CANARY} | tee /tmp/x /dev/shm/x x; sleep 60 & X={CANARY}")
    seen = await run(
        "traj_2", "cat /tmp/x /dev/shm/x x /workspace/../*/x; ps -ef; echo $X; ls -la /tmp"
    )
    await toolbox.close()
    assert CANARY not in seen
    assert "sleep 60" not in seen


@pytest.mark.parametrize(
    "name", ["../traj_2", "/etc", "traj/1", "", ".", "a" * 200, "tr\0aj", "-rf"]
)
async def test_a_trajectory_that_names_another_directory_is_refused(
    toolbox: Toolbox, name: str
) -> None:
    call = ToolCall(id="call_1", name="bash", arguments='{"command": "echo PWNED > file"}')
    with pytest.raises(ValueError, match="not a trajectory id"):
        await toolbox.for_request(["bash"]).call(call, ToolContext(name, "me"))
    with pytest.raises(ValueError, match="not a trajectory id"):
        await toolbox.release(name)
    with pytest.raises(ValueError, match="not a trajectory id"):
        toolbox.files(name)


async def test_files_that_a_sandbox_made_can_be_listed_whatever_they_are_called(
    toolbox: Toolbox, call: Call, context: ToolContext
) -> None:
    names = r"touch $'new\nline' $'\xff\xfe' -- -rf"
    command = f"{names}; mkfifo pipe; ln -s / root; ln -s loop loop; mkdir d"
    await call("bash", command=command)
    listed = [entry.path for entry in toolbox.files(context.trajectory_id).list()]
    await toolbox.release(context.trajectory_id)
    assert sorted(listed) == ["-rf", "new\nline", "\udcff\udcfe"]


async def test_a_server_that_is_killed_takes_its_sandboxes_with_it(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal; from pathlib import Path\n"
        "from agentlm.agent import ToolContext\n"
        "from agentlm.tools.shell.bash import Bash, BashArgs\n"
        "from agentlm.tools.settings import ToolSettings\n"
        "async def main():\n"
        f"    bash = await Bash.open(ToolSettings(data_dir=Path({str(tmp_path)!r})))\n"
        "    command = 'sleep 4712 & setsid sleep 4712 & sleep 0.2'\n"
        "    await bash.run(BashArgs(command=command), ToolContext('traj_1', 'me'))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=environment)
    assert await process.wait() == -signal.SIGKILL
    await asyncio.sleep(0.2)
    assert "sleep 4712" not in processes()


@pytest.mark.parametrize("statement", [*ATTEMPTS["sql"], NESTED])
async def test_no_statement_writes_or_stays(
    database: Toolbox, chinook: Path, context: ToolContext, statement: str
) -> None:
    call = calling(database, context)
    before = state_of(chinook)
    observation = await call("sql", statement=statement)
    assert observation.failed
    assert state_of(chinook) == before
    assert (await call("sql", statement="SELECT 1 AS x")).text == "x\n1\n(1 row)"


@pytest.mark.parametrize("address", ATTEMPTS["private"])
async def test_no_spelling_reaches_a_private_address(
    make_settings: MakeSettings, host: dict[str, Any], address: str
) -> None:
    settings = make_settings(web_ports=(80, 443, host["PORT"]), tool_timeout_s=2.0)
    toolbox = await Toolbox.open(settings, ("web",))
    arguments = json.dumps({"url": aimed(address, host)})
    call = ToolCall(id="call_1", name="web_fetch", arguments=arguments)
    observation = await toolbox.for_request(["web"]).call(call, CONTEXT)
    await toolbox.close()
    assert observation.failed
    assert observation.seconds < 2


@pytest.fixture(scope="module")
def opened_server() -> Iterator[HTTPServer]:
    with HTTPServer(host="127.0.0.2", port=0) as server:
        yield server


@pytest.fixture
def public(opened_server: HTTPServer) -> HTTPServer:
    """A server on an address that the operator opened, so that it stands for a public one."""
    opened_server.clear()
    opened_server.expect_request("/robots.txt").respond_with_data("", status=404)
    return opened_server


@pytest_asyncio.fixture(loop_scope="module")
async def fetch(
    make_settings: MakeSettings, public: HTTPServer, host: dict[str, Any]
) -> AsyncIterator[Call]:
    settings = make_settings(
        web_private=("127.0.0.2/32",), web_ports=(public.port, host["PORT"]), tool_timeout_s=2.0
    )
    toolbox = await Toolbox.open(settings, ("web",))
    tools = toolbox.for_request(["web"])

    async def run(path: str) -> Observation:
        arguments = json.dumps({"url": f"http://127.0.0.2:{public.port}{path}"})
        return await tools.call(ToolCall(id="c", name="web_fetch", arguments=arguments), CONTEXT)

    yield run
    await toolbox.close()


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:$PORT/", "//localhost:$PORT/", "file:///etc/passwd"]
)
@pytest.mark.parametrize("status", [301, 307])
async def test_no_redirect_leads_to_a_private_address(
    fetch: Call, public: HTTPServer, host: dict[str, Any], location: str, status: int
) -> None:
    headers = {"location": aimed(location, host)}
    public.expect_request("/from").respond_with_data("", status=status, headers=headers)
    public.expect_request("/well").respond_with_data("well", content_type="text/plain")
    assert (await fetch("/from")).failed
    assert "well" in (await fetch("/well")).text


async def test_a_name_that_changes_its_address_is_connected_to_where_it_was_checked(
    make_settings: MakeSettings,
    public: HTTPServer,
    host: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["127.0.0.2", "127.0.0.1", "127.0.0.1", "127.0.0.1"])
    asked = []

    async def rebinding(_: PublicNetwork, name: str, port: int) -> list[str]:
        asked.append(name)
        address = next(answers)
        if not _._reach.allows(address):
            raise AddressRefused(f"{name} is not a public address")
        return [address]

    monkeypatch.setattr(PublicNetwork, "_addresses", rebinding)
    public.expect_request("/").respond_with_data("first", content_type="text/plain")
    settings = make_settings(
        web_private=("127.0.0.2/32",), web_ports=(public.port,), web_robots=False
    )
    toolbox = await Toolbox.open(settings, ("web",))
    tools = toolbox.for_request(["web"])
    for path, failed in (("/", False), ("/again", True)):
        arguments = json.dumps({"url": f"http://rebind.example:{public.port}{path}"})
        call = ToolCall(id="call_1", name="web_fetch", arguments=arguments)
        assert (await tools.call(call, CONTEXT)).failed is failed
    await toolbox.close()


def _endless(_: Request) -> Response:
    return Response((b"x" * 65_536 for _ in range(10**9)), content_type="text/plain")


def _dripping(_: Request) -> Response:
    def drip() -> Iterator[bytes]:
        for _ in range(1_000):
            time.sleep(0.2)
            yield b"x"

    return Response(drip(), content_type="text/plain")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_endless, "longer than is read|page 1 of"),
        (_dripping, "did not arrive"),
        (lambda _: Response("x", content_type="text/plain; charset=utf-7"), "x"),
        (lambda _: Response("x", content_type="text/plain; charset=no-such-thing"), "x"),
        (lambda _: Response(b"PK\x03\x04bomb", content_type="application/zip"), "is not text"),
        (lambda _: Response("x", headers={"x-long": "y" * 200_000}), "can't be fetched"),
        (
            lambda _: Response(
                f"<?xml version='1.0'?><!DOCTYPE l [{LAUGHS}]><html><p>&x9;</p></html>",
                content_type="application/xhtml+xml",
            ),
            "",
        ),
        (
            lambda _: Response(
                f"<!DOCTYPE x [{OUTSIDE}]><html><p>&c; text</p></html>",
                content_type="text/html",
            ),
            "",
        ),
    ],
)
async def test_no_page_keeps_the_reader(
    fetch: Call, public: HTTPServer, answer: Callable[[Request], Response], message: str
) -> None:
    public.expect_request("/page").respond_with_handler(answer)
    public.expect_request("/well").respond_with_data("well", content_type="text/plain")
    observation = await fetch("/page")
    assert re.search(message, observation.text)
    assert "root:" not in observation.text
    assert len(observation.text) < 20_000
    assert "well" in (await fetch("/well")).text


STEERING = [
    "\x1b[2Jx",
    "\x9b2Jx",
    "\x1b]0;x\x07",
    "\x9d0;x\x9c",
    "\u202ex\u2066",
    "x\u200b",
    "x\x85",
    "x\u3164",
    "x\U000e0141\U000e0142",
]


@pytest.mark.parametrize("text", STEERING)
async def test_an_observation_steers_no_terminal(
    toolbox: Toolbox, call: Call, context: ToolContext, database: Toolbox, text: str
) -> None:
    toolbox.files(context.trajectory_id).put("output", text.encode())
    codes = " || ".join(f"char({ord(character)})" for character in text)
    ask = calling(database, context)
    observations = [
        await call("bash", command="cat output"),
        await call("bash", command=f"cat output | cut -c1- > '{text}'; ls"),
        await call(f"{text}"),
        await ask("sql", statement=f"SELECT {codes} AS a"),
        await ask("sql", statement=f'SELECT 1 AS "{text}"'),
        await ask("sql_schema", table=text),
    ]

    for observation in observations:
        assert UNPRINTABLE.search(observation.text) is None


@pytest.mark.parametrize("output", ATTEMPTS["imitations"])
@pytest.mark.parametrize("template", ["chatml", "llama2"])
async def test_an_output_that_imitates_the_conversation_stays_content(
    toolbox: Toolbox, call: Call, context: ToolContext, template: Any, output: str
) -> None:
    toolbox.files(context.trajectory_id).put("output", output.encode())
    observation = await call("bash", command="cat output")
    assert observation.text == output
    renderer = tiny_renderer(template)

    def control(text: str) -> list[int]:
        turns = [Turn("user", "Go."), Turn("assistant", "x"), Turn("user", observe(text))]
        ids = [token for step in renderer.open(turns) for token in step.token_ids or ()]
        return [token for token in ids if token in renderer.control_ids]

    assert control(observation.text) == control("innocent")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bash ", '{"command": "echo PWNED"}'),
        ("Bash", '{"command": "echo PWNED"}'),
        ("ｂash", '{"command": "echo PWNED"}'),
        ("../bash", '{"command": "echo PWNED"}'),
        ("__class__", "{}"),
        ("", "{}"),
        ("bash", '{"command": ["echo", "PWNED"]}'),
        ("bash", '{"command": "echo PWNED", "user": "root"}'),
        ("bash", '{"command": NaN}'),
        ("bash", '"echo PWNED"'),
        ("bash", "[" * 100_000),
        ("bash", '{"command": "' + "x" * 200_000 + '"}'),
        ("bash", '{"command": "\\ud800"}'),
        ("bash", ""),
    ],
)
async def test_a_call_that_is_none_is_not_run(
    toolbox: Toolbox, call: Call, context: ToolContext, name: str, arguments: str
) -> None:
    tools = toolbox.for_request(["bash"])
    observation = await tools.call(ToolCall(id="c", name=name, arguments=arguments), context)
    assert observation.failed
    assert (await call("bash", command="echo still here")).text == "still here"
