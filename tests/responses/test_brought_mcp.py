"""MCP servers that a request brings: where they may be, who approves calls, and what is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from openai.types.responses import Response
from pydantic import TypeAdapter

from agentlm.prompt.observation import observe
from support.serving import Running, Serve

SECRET = "sesame-0123456789"
FINAL = "Thought: I know.\nFinal Answer: Done."
BROUGHT = {"type": "mcp"}
"""Stands for the calculator, whose address is not known yet."""
LOOKUP = {"type": "function", "name": "lookup"}
SPACE = {
    "type": "namespace",
    "name": "crm",
    "tools": [{**LOOKUP, "name": "list"}, {**LOOKUP, "name": "find"}],
}
ASKED = {"role": "user", "content": "Double 4"}


def call(name: str, **arguments: Any) -> str:
    return f"Thought: I call.\nAction: calc__{name}\nAction Input: {json.dumps(arguments)}"


DOUBLE = call("double", x=4)


class Calculator:
    def __init__(self) -> None:
        self.doubled: list[int] = []
        self.port = 0
        self.waited = 0
        self.waits = asyncio.Event()
        self.resume = asyncio.Event()

    @property
    def options(self) -> dict[str, Any]:
        """What an operator says who lets requests bring it."""
        return {
            "mcp_hosts": ("127.0.0.1",),
            "web_private": ("127.0.0.1/32",),
            "web_ports": (self.port,),
        }

    def tool(self, **changed: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/mcp"
        return {"type": "mcp", "server_label": "calc", "server_url": url, **changed}

    def server(self) -> MCPServer:
        server = MCPServer("calculator")

        @server.tool()
        def double(x: int) -> str:
            """Double a number."""
            self.doubled.append(x)
            return str(2 * x)

        @server.tool()
        async def wait() -> str:
            """Wait until told."""
            self.waited += 1
            self.waits.set()
            await self.resume.wait()
            return "waited"

        @server.tool()
        def whoami(context: Context) -> str:
            """Tell who asks."""
            request = context.request_context.request
            return str(request and request.headers.get("authorization"))

        return server


@pytest.fixture
async def calculator() -> AsyncIterator[Calculator]:
    made = Calculator()
    app = made.server().streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
    made.port = server.servers[0].sockets[0].getsockname()[1]
    yield made
    made.resume.set()
    server.should_exit = True
    await serving


async def post(running: Running, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        body = {"model": "tiny", "input": [ASKED], **fields}
        return await client.post(f"{running.url}/v1/responses", json=body)


async def answered(running: Running, **fields: Any) -> dict[str, Any]:
    got = await post(running, **fields)
    assert got.status_code == 200, got.text
    TypeAdapter(Response).validate_json(got.content, strict=True)
    answer: dict[str, Any] = got.json()
    return answer


def kept_in(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


def decided(question: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The client's answer to a question whether a call may be made."""
    decision = {"type": "mcp_approval_response", "approval_request_id": question["id"]}
    return {**decision, "approve": True, **changed}


def of_type(answer: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item for item in answer["output"] if item["type"] == kind]


async def test_its_tools_are_listed_and_called(serve: Serve, calculator: Calculator) -> None:
    async with serve(DOUBLE, FINAL, **calculator.options) as running:
        tool = calculator.tool(require_approval="never", allowed_tools=["double"])
        answer = await answered(running, tools=[tool])

        kinds = [item["type"] for item in answer["output"]]
        assert kinds == ["mcp_list_tools", "reasoning", "mcp_call", "reasoning", "message"]
        [listed] = answer["output"][0]["tools"]
        assert (listed["name"], listed["description"]) == ("double", "Double a number.")
        [made] = of_type(answer, "mcp_call")
        assert (made["server_label"], made["name"], made["output"]) == ("calc", "double", "8")
        assert answer["tools"] == [tool]
        async with httpx.AsyncClient() as client:
            again = await client.get(f"{running.url}/v1/responses/{answer['id']}")
        assert again.json()["output"] == answer["output"]


async def test_a_stream_tells_the_same(serve: Serve, calculator: Calculator) -> None:
    never = calculator.tool(require_approval="never")
    async with serve(DOUBLE, FINAL, DOUBLE, **calculator.options) as running:
        for tool in (never, calculator.tool()):
            got = await post(running, tools=[tool], stream=True, max_output_tokens=200)
            lines = [line for line in got.text.splitlines() if line.startswith("data: {")]
            events = [json.loads(line.removeprefix("data: ")) for line in lines]
            done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
            added = [e["output_index"] for e in events if e["type"] == "response.output_item.added"]
            assert done == events[-1]["response"]["output"]
            assert added == list(range(len(done)))


@pytest.mark.parametrize("by", ["id", "items"])
async def test_a_call_is_made_once_when_it_is_approved(
    serve: Serve, calculator: Calculator, by: str
) -> None:
    async with serve(DOUBLE, FINAL, FINAL, **calculator.options) as running:
        tools = [calculator.tool()]
        asked = await answered(running, tools=tools)
        [question] = of_type(asked, "mcp_approval_request")
        assert (question["name"], json.loads(question["arguments"])) == ("double", {"x": 4})
        assert calculator.doubled == []

        decision = {
            "type": "mcp_approval_response",
            "approval_request_id": question["id"],
            "approve": True,
        }
        items: list[Any] = [ASKED, *asked["output"], decision]
        if by == "id":
            answer = await answered(
                running, tools=tools, input=[decision], previous_response_id=asked["id"]
            )
        else:
            answer = await answered(running, tools=tools, input=items)
        [made] = of_type(answer, "mcp_call")
        assert (made["output"], made["approval_request_id"]) == ("8", question["id"])
        assert observe("8") in running.served.renderer.decode_verbatim(
            running.engine.requests[-1].prompt_ids
        )

        thanks = {"role": "user", "content": "Thanks"}
        if by == "id":
            await answered(running, tools=tools, input=[thanks], previous_response_id=answer["id"])
        else:
            await answered(running, tools=tools, input=[*items, *answer["output"], thanks])
        assert calculator.doubled == [4]
        assert len({trajectory.id for trajectory in running.trajectories()}) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_retry_is_told_what_an_approved_call_gave(
    serve: Serve, calculator: Calculator, stream: bool
) -> None:
    async with serve(DOUBLE, FINAL, FINAL, **calculator.options) as running:
        tools = [calculator.tool()]
        asked = await answered(running, tools=tools)
        [question] = of_type(asked, "mcp_approval_request")
        approving = {"input": [decided(question)], "previous_response_id": asked["id"]}
        lost = await post(running, tools=tools, stream=stream, **approving)
        again = await answered(running, tools=tools, **approving)

        assert lost.status_code == 200
        [made] = of_type(again, "mcp_call")
        assert (made["output"], made["approval_request_id"]) == ("8", question["id"])
        assert calculator.doubled == [4]
        assert running.engine.requests[1].prompt_ids == running.engine.requests[2].prompt_ids


async def test_an_approved_call_keeps_its_stream_alive_and_ends_with_it_for_good(
    serve: Serve, calculator: Calculator
) -> None:
    options = {**calculator.options, "keep_alive_s": 0.2}
    async with serve(call("wait"), FINAL, **options) as running:
        tools = [calculator.tool()]
        asked = await answered(running, tools=tools)
        [question] = of_type(asked, "mcp_approval_request")
        by_id = {"tools": tools, "previous_response_id": asked["id"]}
        body = {"model": "tiny", "stream": True, "input": [decided(question)], **by_id}
        url = f"{running.url}/v1/responses"
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("POST", url, json=body) as events,
        ):
            assert await anext(events.aiter_text()) == ": keep-alive\n\n"
            async with asyncio.timeout(30):
                await calculator.waits.wait()
        again = await post(running, input=[decided(question)], **by_id)
        denied = await post(running, input=[decided(question, approve=False)], **by_id)

        assert (again.status_code, again.json()["error"]["code"]) == (409, "approved_before")
        assert denied.status_code == 200
        assert calculator.waited == 1


async def test_an_approved_call_in_a_named_conversation(
    serve: Serve, calculator: Calculator
) -> None:
    async with serve(DOUBLE, FINAL, FINAL, **calculator.options) as running:
        named = await running.client.conversations.create()
        more = {"tools": [calculator.tool()], "conversation": named.id}
        asked = await answered(running, **more)
        [question] = of_type(asked, "mcp_approval_request")
        answer = await answered(running, **{**more, "input": [decided(question)]})
        await answered(running, **{**more, "input": "Thanks"})
        listed = await running.client.conversations.items.list(named.id, order="asc", limit=100)

        [made] = of_type(answer, "mcp_call")
        assert [item.id for item in listed.data if item.type == "mcp_call"] == [made["id"]]
        kinds = [item.type for item in listed.data]
        assert kinds.count("mcp_approval_request") == kinds.count("mcp_approval_response") == 1
        assert calculator.doubled == [4]
        assert len(running.trajectories()) == 1


@pytest.mark.parametrize("background", [False, True])
async def test_what_an_approved_call_gave_is_in_the_log(
    serve: Serve, calculator: Calculator, background: bool
) -> None:
    async with serve(DOUBLE, FINAL, **calculator.options) as running:
        tools = [calculator.tool()]
        asked = await answered(running, tools=tools)
        [question] = of_type(asked, "mcp_approval_request")
        by_id = {"tools": tools, "previous_response_id": asked["id"]}
        answer = await answered(running, input=[decided(question)], background=background, **by_id)
        async with asyncio.timeout(20):
            while answer["status"] == "in_progress":
                found = await running.client.responses.retrieve(answer["id"])
                answer = found.to_dict(mode="json")
                await asyncio.sleep(0.02)

        [made] = of_type(answer, "mcp_call")
        assert made["output"] == "8"
        [trajectory] = running.trajectories()
        assert [m.content for m in trajectory.interactions[-1].messages][-1] == "8"


async def test_a_denied_call_is_not_made_and_the_model_is_told(
    serve: Serve, calculator: Calculator
) -> None:
    async with serve(DOUBLE, FINAL, **calculator.options) as running:
        tools = [calculator.tool(require_approval={"never": {"tool_names": ["whoami"]}})]
        asked = await answered(running, tools=tools)
        [question] = of_type(asked, "mcp_approval_request")
        decision = {
            "type": "mcp_approval_response",
            "approval_request_id": question["id"],
            "approve": False,
            "reason": "not today",
        }
        answer = await answered(
            running, tools=tools, input=[decision], previous_response_id=asked["id"]
        )
        assert of_type(answer, "mcp_call") == []
        assert calculator.doubled == []
        prompt = running.served.renderer.decode_verbatim(running.engine.requests[-1].prompt_ids)
        assert "not today" in prompt


async def test_what_its_server_is_sent_is_kept_nowhere(
    serve: Serve, calculator: Calculator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve(call("whoami"), FINAL, **calculator.options) as running:
        tool = calculator.tool(require_approval="never", authorization=SECRET)
        tool["server_url"] += f"?key={SECRET}"
        answer = await answered(running, tools=[tool])
        [made] = of_type(answer, "mcp_call")
        assert made["output"] == "Bearer [calc Authorization removed]"
        assert SECRET not in json.dumps(answer)
    written = kept_in(tmp_path)
    assert written
    assert not any(SECRET.encode() in content for content in written)
    ours = [record.getMessage() for record in caplog.records if "agentlm" in record.name]
    assert not any(SECRET in message for message in ours)


PORT: dict[str, Any] = {"web_ports": (80, 443, 9)}
ANYWHERE: dict[str, Any] = {"mcp_hosts": ("*",), **PORT}


@pytest.mark.parametrize(
    ("options", "change", "param", "words"),
    [
        (PORT, {}, "server_url", "mcp_hosts"),
        ({"mcp_hosts": ("example.org",), **PORT}, {}, "server_url", "allowed: example.org"),
        (ANYWHERE, {}, "server_url", "not a public address"),
        (ANYWHERE, {"server_url": "http://localhost/mcp"}, "server_url", "not a public"),
        (ANYWHERE, {"server_url": "http://169.254.169.254/"}, "server_url", "not a public"),
        (ANYWHERE, {"server_url": "http://[::ffff:127.0.0.1]/"}, "server_url", "not a public"),
        (ANYWHERE, {"server_url": "http://2130706433/"}, "server_url", "not a public"),
        ({**ANYWHERE, "web_ports": (443,)}, {}, "server_url", "port 9"),
        ({"mcp_hosts": ("a.org",), **PORT}, {"server_url": "http://xn--a/"}, "server_url", "a.org"),
        (ANYWHERE, {"server_url": "file:///etc/passwd"}, "server_url", "http or https"),
        (ANYWHERE, {"server_url": "http://me:pw@example.org/"}, "server_url", "password"),
        (ANYWHERE, {"server_label": "a__b"}, "server_label", "letters"),
        (ANYWHERE, {"headers": {"X-Key": "a\r\nHost: b"}}, "headers", "printable"),
        (ANYWHERE, {"headers": {"Host": "inside"}}, "headers", "can't be set"),
        (ANYWHERE, {"connector_id": "connector_gmail"}, "connector_id", "not known"),
        (ANYWHERE, {"require_approval": "maybe"}, "require_approval", ""),
    ],
)
async def test_what_can_not_be_brought_is_refused_by_name(
    serve: Serve, options: dict[str, Any], change: dict[str, Any], param: str, words: str
) -> None:
    tool = {"type": "mcp", "server_label": "calc", "server_url": "http://127.0.0.1:9/mcp"}
    async with serve(**options) as running:
        got = await post(running, tools=[{**tool, **change}])
        error = got.json()["error"]
        assert (got.status_code, error["param"].split(".")[:2]) == (400, ["tools[0]", param])
        assert words in error["message"]
        assert running.engine.requests == []


UNHELD = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([BROUGHT, LOOKUP, LOOKUP], "tools[2].name"),
        ([LOOKUP, BROUGHT, LOOKUP], "tools[2].name"),
        ([BROUGHT, {**LOOKUP, "parameters": {"type": "string"}}], "tools[1].parameters"),
        ([BROUGHT, {**LOOKUP, "parameters": UNHELD, "strict": True}], "tools[1].parameters"),
        ([BROUGHT, {"type": "teleport"}], "tools[1].type"),
        ([BROUGHT, {"type": "bash"}, {**LOOKUP, "name": "bash"}], "tools[2].name"),
        ([BROUGHT, {"type": "sql", "file_ids": ["file-1"]}], "tools[1].file_ids"),
        ([BROUGHT, {**LOOKUP, "name": "calc__double"}], "tools[1].name"),
        ([SPACE, {"type": "teleport"}], "tools[1].type"),
        ([SPACE, LOOKUP, {**LOOKUP, "file_ids": ["file-1"]}], "tools[2].file_ids"),
        ([SPACE, {**LOOKUP, "name": "crm__find"}], "tools[0].tools[1].name"),
        ([SPACE, SPACE], "tools[1].tools[0].name"),
        ([BROUGHT, SPACE, {**LOOKUP, "name": "crm__find"}], "tools[1].tools[1].name"),
    ],
)
async def test_a_wrong_tool_is_named_by_its_place_among_those_that_were_sent(
    serve: Serve, calculator: Calculator, tools: list[dict[str, Any]], param: str
) -> None:
    async with serve(**calculator.options) as running:
        sent = [calculator.tool() if tool == BROUGHT else tool for tool in tools]
        got = await post(running, tools=sent)
        assert (got.status_code, got.json()["error"]["param"]) == (400, param), got.text
        assert running.engine.requests == []


async def test_an_approval_that_answers_no_question_is_refused(
    serve: Serve, calculator: Calculator
) -> None:
    async with serve(DOUBLE, **calculator.options) as running:
        tools = [calculator.tool()]
        asked = await answered(running, tools=tools)
        [question] = of_type(asked, "mcp_approval_request")

        async def status(identity: str, tools: list[Any]) -> int:
            decision = {
                "type": "mcp_approval_response",
                "approval_request_id": identity,
                "approve": True,
            }
            more = {"input": [decision], "previous_response_id": asked["id"]}
            return (await post(running, tools=tools, **more)).status_code

        assert await status("mcpr_call_other", tools) == 400
        assert await status(question["id"], []) == 400
        assert await status(question["id"].replace("mcpr_call_", "appr_"), tools) == 403
        assert calculator.doubled == []


async def test_a_client_does_not_choose_what_its_call_waits_under(
    serve: Serve, calculator: Calculator, tmp_path: Path
) -> None:
    """Else another call could stand under a name by the time somebody decides about it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools: {calc__double: ask}\n")

    def approved(identity: str) -> list[dict[str, Any]]:
        call = {"server_label": "calc", "name": "double", "arguments": '{"x": 4}'}
        decision = {"approval_request_id": identity, "approve": True}
        return [
            ASKED,
            {"type": "mcp_approval_request", "id": identity, **call},
            {"type": "mcp_approval_response", **decision},
        ]

    names = ("mcpr_call_mine", "mcpr_call_mine_too")
    async with serve(FINAL, FINAL, tool_policy=policy, **calculator.options) as running:
        runs = [
            asyncio.create_task(answered(running, tools=[calculator.tool()], input=approved(name)))
            for name in names
        ]
        approvals = f"{running.url}/v1/approvals"
        async with httpx.AsyncClient() as client, asyncio.timeout(10):
            while len(waiting := (await client.get(approvals)).json()["data"]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert not any("mine" in item["id"] for item in waiting)
            for item in waiting:
                decided = await client.post(f"{approvals}/{item['id']}", json={"approve": True})
                assert decided.status_code == 200
        for name, run in zip(names, runs, strict=True):
            [made] = of_type(await run, "mcp_call")
            assert (made["output"], made["approval_request_id"]) == ("8", name)


GREETING = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "raw", "version": "1"},
}
LIST = b'{"jsonrpc": "2.0", "id": %d, "result": {"tools": [%s]}}'
BODY: dict[str, Callable[[int], tuple[bytes, bytes]]] = {
    "compressed": lambda number: (gzip.compress(LIST % (number, b" " * 50_000_000)), b"gzip"),
    "twice": lambda number: (gzip.compress(gzip.compress(LIST % (number, b""))), b"gzip, gzip"),
    "of many lists": lambda number: (LIST % (number, b"[]," * 200_000 + b"0"), b""),
    "of many items": lambda number: (LIST % (number, b"0," * 600_000 + b"0"), b""),
    "long": lambda number: (LIST % (number, b" " * 17_000_000), b""),
}


@asynccontextmanager
async def answering(body: Callable[[int], tuple[bytes, bytes]]) -> AsyncIterator[int]:
    """A server of raw HTTP that says this of its tools; its port."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                asked = json.loads(await reader.readexactly(int(length[1]))) if length else {}
                encoding, text = b"", b""
                if asked.get("method") == "initialize":
                    result = {"jsonrpc": "2.0", "id": asked["id"], "result": GREETING}
                    text = json.dumps(result).encode()
                elif "id" in asked:
                    text, encoding = body(asked["id"])
                status = b"200 OK" if text else b"202 Accepted"
                writer.write(
                    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                    % (status, len(text))
                )
                writer.write(b"content-encoding: %s\r\n" % encoding if encoding else b"")
                writer.write(b"\r\n" + text)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize("kind", list(BODY))
async def test_an_answer_that_is_more_than_it_seems_is_refused(serve: Serve, kind: str) -> None:
    async with answering(BODY[kind]) as port:
        calculator = Calculator()
        calculator.port = port
        async with serve(**calculator.options) as running:
            got = await post(running, tools=[calculator.tool()])
            assert got.status_code == 400
            assert re.search("a (compressed )?response", got.json()["error"]["message"]), got.text


async def test_of_tools_without_number_some_are_offered(serve: Serve) -> None:
    tools = b",".join(
        b'{"name": "t%d", "inputSchema": {"type": "object"}}' % n for n in range(9000)
    )

    async with answering(lambda number: (LIST % (number, tools), b"")) as port:
        calculator = Calculator()
        calculator.port = port
        async with serve(FINAL, **calculator.options) as running:
            brought = calculator.tool(require_approval="never", allowed_tools=["t1"])
            answer = await answered(running, tools=[brought])
            assert len(answer["output"][0]["tools"]) == 1


async def test_what_a_server_repeats_of_its_headers_is_not_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = b"no entry with " + SECRET.encode()
    async with answering(lambda number: (wrong, b"")) as port:
        calculator = Calculator()
        calculator.port = port
        async with serve(**calculator.options) as running:
            got = await post(running, tools=[calculator.tool(authorization=SECRET)])
            assert got.status_code == 400
    assert SECRET not in caplog.text
