"""`agentlm mcp`: the server's tools offered to any MCP client, over standard input and output.

The client gets its greeting at once. The tools, with everything that they import and start, are
opened meanwhile; the first request about them waits for that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mcp_types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from pydantic import TypeAdapter, ValidationError

from agentlm.agent.tool import Hints, ToolContext
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall, ToolSpec
from agentlm.tools.mcp.stream import Item, Watched
from agentlm.tools.settings import ToolSettings

if TYPE_CHECKING:
    from agentlm.tools.approvals import ApprovalItem
    from agentlm.tools.run_tools import RunTools

_log = logging.getLogger(__name__)
_OWNER = "mcp"
_BLOCK: TypeAdapter[mcp_types.ContentBlock] = TypeAdapter(mcp_types.ContentBlock)
_LATE = ("agentlm.store", "agentlm.tools.toolbox")


def mcp_server(
    opened: Callable[[], Awaitable[RunTools]], context: ToolContext
) -> Server[dict[str, object]]:
    """A server that offers tools. One context is one conversation, with its own shell and files."""

    async def list_tools(
        _context: object, _params: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListToolsResult:
        tools = await opened()
        described = [_described(spec, tools.hints(spec.name)) for spec in tools.specs()]
        return mcp_types.ListToolsResult(tools=described)

    async def call_tool(
        _context: object, params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        arguments = json.dumps(params.arguments or {})
        call = ToolCall(id=f"call_{uuid.uuid4().hex}", name=params.name, arguments=arguments)
        tools = await opened()
        observation = await tools.call(call, context)
        text = mcp_types.TextContent(type="text", text=observation.text)
        blocks = [_BLOCK.validate_python(block, by_name=False) for block in observation.blocks]
        return mcp_types.CallToolResult(
            content=[text, *blocks],
            structured_content=observation.structured,
            is_error=observation.failed,
        )

    return Server(
        "agentlm", version=version("agentlm"), on_list_tools=list_tools, on_call_tool=call_tool
    )


async def serve(settings: ToolSettings) -> None:
    """Serve one client until its input ends.

    Standard output belongs to the protocol; the log goes to stderr.

    Raises OperatorError if the tools can't be opened.
    """
    context = ToolContext(trajectory_id=f"mcp_{uuid.uuid4().hex}", owner=_OWNER)
    settings.prepare_data_dir()
    ready: asyncio.Future[RunTools] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()
    keeping = asyncio.create_task(_keep_open(settings, context, ready, ended))

    async def opened() -> RunTools:
        try:
            return await asyncio.shield(ready)
        except OperatorError as error:
            raise MCPError(mcp_types.INTERNAL_ERROR, str(error)) from error

    server = mcp_server(opened, context)
    try:
        async with stdio_server() as (reading, writing):
            options = server.create_initialization_options()
            await server.run(Watched(reading, _refusing(writing)), writing, options)
    finally:
        ended.set()
        if not ready.done():
            keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep_open(
    settings: ToolSettings,
    context: ToolContext,
    ready: asyncio.Future[RunTools],
    ended: asyncio.Event,
) -> None:
    """Open the tools, and close them when the client has gone."""
    try:
        async with _opened(settings, context) as tools:
            ready.set_result(tools)
            await ended.wait()
    except asyncio.CancelledError:
        ready.cancel()
        raise
    except Exception as error:
        if not ready.done():
            _log.error("the tools can't be opened: %s", error)
            ready.set_exception(error)
            ready.exception()  # requests get the error; perhaps there is none
        raise


@asynccontextmanager
async def _opened(settings: ToolSettings, context: ToolContext) -> AsyncIterator[RunTools]:
    for module in _LATE:
        await asyncio.to_thread(import_module, module)
    from agentlm.store import Store
    from agentlm.tools.approvals import Decision
    from agentlm.tools.toolbox import Toolbox

    store = Store.open(settings.log_url())
    toolbox = await Toolbox.open(settings, audit=store.audit.add)

    def deny(item: ApprovalItem) -> None:
        decision = Decision(approve=False, reason="nobody can be asked over MCP")
        toolbox.approvals.decide(item.id, decision)

    try:
        yield toolbox.for_request(toolbox.families(), owner=_OWNER, on_pending=deny)
    finally:
        await toolbox.release(context.trajectory_id)
        await toolbox.close()
        store.close()


def _refusing(writing: Any) -> Callable[[Item], Awaitable[Item | None]]:
    """Answers at once what the SDK's server would ignore silently."""

    async def look(item: Item) -> Item | None:
        if isinstance(item, ValidationError):
            if error := _refusal(item):
                await writing.send(SessionMessage(error))
            return None
        return item

    return look


def _refusal(error: ValidationError) -> mcp_types.JSONRPCError | None:
    """The answer to an invalid line; None if the line is empty."""
    problems = error.errors(include_url=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        if not str(first["input"]).strip():
            return None
        code, reason, request = mcp_types.PARSE_ERROR, first["msg"], None
    else:
        reason = "it is no request, notification or answer of JSON-RPC 2.0"
        code, request = mcp_types.INVALID_REQUEST, _request_id(problems)
    error_data = mcp_types.ErrorData(code=code, message=f"the message can't be read: {reason}")
    return mcp_types.JSONRPCError(jsonrpc="2.0", id=request, error=error_data)


def _request_id(problems: Sequence[Any]) -> mcp_types.RequestId | None:
    """The id of a message that lacks another field; the error contains the whole message."""
    wholes = (problem["input"] for problem in problems if problem["type"] == "missing")
    candidate = next((whole.get("id") for whole in wholes if isinstance(whole, dict)), None)
    return (
        candidate if isinstance(candidate, int | str) and not isinstance(candidate, bool) else None
    )


def _described(spec: ToolSpec, hints: Hints) -> mcp_types.Tool:
    annotations = mcp_types.ToolAnnotations(
        title=hints.title,
        read_only_hint=hints.read_only,
        destructive_hint=hints.destructive,
        idempotent_hint=hints.idempotent,
        open_world_hint=hints.open_world,
    )
    return mcp_types.Tool(
        name=spec.name,
        description=spec.description,
        input_schema=spec.parameters,
        annotations=None if hints == Hints() else annotations,
    )
