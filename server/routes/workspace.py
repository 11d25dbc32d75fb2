"""`/v1/trajectories/{id}/files`: the files in bash's /workspace, uploaded and downloaded.

A file is transferred in parts, so its size doesn't affect memory. It is sent as an attachment
without a type: what a model wrote must not be a page of this server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from agentlm.errors import NotFoundError
from agentlm.server.callers import allowed_families
from agentlm.server.http.openapi import BYTES, BYTES_SCHEMA, reads_content
from agentlm.server.routes.trajectories import find_trajectory, missing
from agentlm.server.state import Caller, OwnerScope, ServerState, State
from agentlm.store import ApiKey
from agentlm.tools.shell.files import WorkspaceFiles

router = APIRouter(prefix="/v1/trajectories/{trajectory_id}/files")

_PART_BYTES = 256 * 1024


@router.get("")
async def list_files(
    trajectory_id: str, state: State, caller: Caller, owner: OwnerScope
) -> dict[str, Any]:
    """Every regular file in the work directory, by name."""
    files = await _files(trajectory_id, state, caller, owner)
    entries = await asyncio.to_thread(files.list)
    data = [_described(entry.path, entry.length_bytes) for entry in entries]
    return {"object": "list", "data": data, "has_more": False}


@router.get("/{path:path}", response_class=Response, responses=BYTES)
async def get_file(
    trajectory_id: str, path: str, state: State, caller: Caller, owner: OwnerScope
) -> StreamingResponse:
    """One file's content, as it is now."""
    files = await _files(trajectory_id, state, caller, owner)
    file = await asyncio.to_thread(files.open, path)
    name = quote(path.rpartition("/")[2])
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(_parts(file), headers=headers, media_type="application/octet-stream")


@router.put("/{path:path}", openapi_extra=reads_content("application/octet-stream", BYTES_SCHEMA))
async def put_file(
    trajectory_id: str,
    path: str,
    request: Request,
    state: State,
    caller: Caller,
    owner: OwnerScope,
) -> Response:
    """Write the body to a file of this name, creating directories and replacing the old content."""
    files = await _files(trajectory_id, state, caller, owner)
    with closing(await asyncio.to_thread(files.receive, path)) as incoming:
        try:
            async for part in request.stream():
                await asyncio.to_thread(incoming.write, part)
        except ClientDisconnect:
            return Response(status_code=499)
        await asyncio.to_thread(incoming.keep)
    return JSONResponse(_described(path, incoming.written))


async def _files(
    trajectory_id: str, state: ServerState, caller: ApiKey, owner: str | None
) -> WorkspaceFiles:
    """The work directory of the caller's trajectory. Raises NotFoundError."""
    toolbox = state.chat.toolbox
    if "bash" not in allowed_families(caller, toolbox.families()):
        raise NotFoundError("there is no bash here that files could be for", param="trajectory_id")
    trajectory = await find_trajectory(trajectory_id, state, owner)
    try:
        return toolbox.files(trajectory.id)
    except ValueError:  # imported, under a name that no directory can have
        raise missing(trajectory_id) from None


def _parts(file: BinaryIO) -> Iterator[bytes]:
    """A file's content up to its present length: it may be growing."""
    with file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (part := file.read(min(left, _PART_BYTES))):
            left -= len(part)
            yield part


def _described(path: str, length: int) -> dict[str, Any]:
    name = os.fsencode(path).decode(errors="replace")  # names are bytes, JSON is text
    return {"object": "trajectory.file", "path": name, "bytes": length}
