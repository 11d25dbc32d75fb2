"""Receive a file in a multipart form. It is written to disk as it comes, in constant memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from agentlm.errors import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_FIELD_BYTES = 4096
_MAX_PARTS = 16


@dataclass
class Upload:
    """The content of a form."""

    filename: str = ""
    bytes: int = 0
    fields: dict[str, str] = field(default_factory=dict)


async def receive_upload(request: Request, content: Path, max_bytes: int) -> Upload:
    """Write a form's `file` to a path, and return its other fields. Raises RequestError."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise RequestError("the content type must be multipart/form-data")
    with content.open("wb") as file:
        form = _Form(file, max_bytes)
        try:
            parser = MultipartParser(options[b"boundary"], form.callbacks())
            async for chunk in request.stream():
                # Disks can be slow; other streams must go on meanwhile.
                await asyncio.to_thread(parser.write, chunk)
        except FormParserError as error:
            raise RequestError(f"the form can't be read: {error}") from error
    if not form.ended:
        raise RequestError("the form is cut off")
    if not form.upload.filename:
        raise RequestError("file is required", param="file")
    return form.upload


class _Form:
    """Receives the parts of a form from the parser."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self.upload = Upload()
        self.ended = False
        self._file = file
        self._max_bytes = max_bytes
        self._parts = 0
        self._header = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._value = b""
        self._is_file = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise RequestError(f"a form may have at most {_MAX_PARTS} fields")
        self._headers, self._value = {}, b""

    def _add_header(self, part: int, text: bytes) -> None:
        self._header[part] += text

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._is_file = self._name == "file" and b"filename" in options
        if self._is_file:
            if self.upload.filename:
                raise RequestError("only one file can be sent at a time", param="file")
            name = options[b"filename"].decode(errors="replace")
            self.upload.filename = Path(name).name[-255:] or "file"

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.upload.bytes += end - start
            if self.upload.bytes > self._max_bytes:
                raise RequestError(f"a file may have at most {self._max_bytes} bytes", param="file")
            self._file.write(memoryview(data)[start:end])
        elif len(self._value) + end - start > _MAX_FIELD_BYTES:
            raise RequestError(f"{self._name} is too long", param=self._name)
        else:
            self._value += data[start:end]

    def _end_part(self) -> None:
        if not self._is_file:
            self.upload.fields[self._name] = self._value.decode(errors="replace")

    def _end(self) -> None:
        self.ended = True
