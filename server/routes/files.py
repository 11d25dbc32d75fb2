"""`/v1/files`: files that jobs read and write. A key sees its own; an administrator's sees all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from openai.types import FileDeleted, FileObject, FilePurpose

from agentlm.errors import ConflictError, OperatorError, RequestError
from agentlm.exchange.files import MOST_MALFORMED, read_file, within_limit
from agentlm.exchange.keys import Columns
from agentlm.jobs.job import unfinished
from agentlm.jobs.kept_files import KeptFile
from agentlm.server.http.openapi import BYTES, answers, answers_list, reads_content
from agentlm.server.http.pages import page_of
from agentlm.server.http.upload import Upload, receive_upload
from agentlm.server.state import Caller, OwnerScope, State

router = APIRouter(prefix="/v1/files")

_LOOK_ROWS = 10_000
_LOOK_S = 5.0
"""How long to check a file for fine-tuning when it comes. Its job checks all of it."""

_UPLOAD = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"enum": list(get_args(FilePurpose))},
    },
}


class FileAnswer(FileObject):
    """OpenAI's type for files doesn't know every purpose that its uploads may have."""

    purpose: str  # type: ignore[assignment]


@router.post(
    "",
    openapi_extra=reads_content("multipart/form-data", _UPLOAD),
    responses=answers(FileAnswer),
)
async def create_file(request: Request, state: State, caller: Caller) -> dict[str, Any]:
    """Keep a file. It is on disk when this answers."""
    with state.files.arriving() as content:
        upload = await receive_upload(request, content, state.settings.max_file_bytes)
        file = KeptFile(
            owner=caller.name,
            filename=upload.filename,
            purpose=_purpose(upload),
            bytes=upload.bytes,
        )
        if file.purpose == "fine-tune":
            await asyncio.to_thread(_check_rows, content, file.filename)
        return file_object(await asyncio.to_thread(state.files.keep, content, file))


@router.get("", responses=answers_list(FileAnswer))
async def list_files(
    state: State,
    owner: OwnerScope,
    purpose: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """The caller's files, newest first."""
    files: Iterable[KeptFile] = await asyncio.to_thread(state.files.list, owner)
    objects = [file_object(file) for file in files if purpose in (None, file.purpose)]
    return page_of(objects[::-1] if order == "desc" else objects, after=after, limit=limit)


@router.get("/{file_id}", responses=answers(FileAnswer))
async def get_file(file_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """A file's metadata."""
    return file_object(state.files.get(file_id, owner))


@router.get("/{file_id}/content", response_class=Response, responses=BYTES)
async def get_content(file_id: str, state: State, owner: OwnerScope) -> FileResponse:
    """A file's content, as it was uploaded."""
    file = state.files.get(file_id, owner)
    # Whatever its content is, no browser may display it as a page of this server.
    return FileResponse(
        state.files.content(file),
        media_type="application/octet-stream",
        filename=file.filename,
        headers={"x-content-type-options": "nosniff"},
    )


@router.delete("/{file_id}", responses=answers(FileDeleted))
async def delete_file(file_id: str, state: State, owner: OwnerScope) -> dict[str, Any]:
    """Delete a file that no unfinished job needs."""
    file = state.files.get(file_id, owner)
    for job in unfinished(state.settings.data_dir):
        if job.request.training_file == file_id:
            raise ConflictError(f"the job {job.directory.name} needs {file_id}", param="file_id")
    await asyncio.to_thread(state.files.delete, file)
    return {"id": file_id, "object": "file", "deleted": True}


def _check_rows(content: Path, filename: str) -> None:
    """Raise RequestError if a short look at the file shows that no job could train on it."""
    until = time.monotonic() + _LOOK_S
    rows = islice(read_file(content, filename, Columns()), _LOOK_ROWS)
    short = takewhile(lambda _: time.monotonic() < until, rows)
    try:
        for _ in within_limit(short, filename, MOST_MALFORMED):
            pass
    except OperatorError as error:
        raise RequestError(str(error), param="file") from error
    except ModuleNotFoundError:
        pass  # a server without a trainer can't read tables; the trainer will


def file_object(file: KeptFile) -> dict[str, Any]:
    """A file in OpenAI's format."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def _purpose(upload: Upload) -> str:
    """The file's purpose. Raises RequestError for an impossible one, and for unknown fields."""
    known = get_args(FilePurpose)
    purpose = upload.fields.pop("purpose", "")
    if purpose not in known:
        raise RequestError(f"purpose must be one of {', '.join(known)}", param="purpose")
    for name in upload.fields:
        raise RequestError(f"{name} is not supported: files stay until deleted", param=name)
    return purpose
