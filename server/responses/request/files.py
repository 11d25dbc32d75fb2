"""Files that a message or a result holds: text is read to the model, under the file's name."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from agentlm.errors import NotFoundError, RequestError
from agentlm.jobs.kept_files import KeptFiles

_HOLDING = ("content", "output")
"""The fields of items that have parts."""
_NAMED = ("file_id", "file_data", "file_url")
_NAMELESS = "without a name"


@dataclass
class TextFiles:
    """What a request may read of files."""

    files: KeptFiles
    owner: str | None
    left_bytes: int
    """Together they may be as long as a request."""

    async def read_into(self, items: Any, place: str = "input") -> Any:
        """The same items, with the text of files in place of the files.

        Raises RequestError for what is no text, and NotFoundError for a file that is not there or
        is another's.
        """
        if not isinstance(items, list):
            return items
        return [
            await asyncio.to_thread(self._item, item, f"{place}[{index}]")
            if isinstance(item, dict) and any(_has_files(item, name) for name in _HOLDING)
            else item
            for index, item in enumerate(items)
        ]

    def _item(self, item: dict[str, Any], place: str) -> dict[str, Any]:
        changed = {
            name: [
                self._part(part, f"{place}.{name}[{index}]") if _is_file(part) else part
                for index, part in enumerate(item[name])
            ]
            for name in _HOLDING
            if _has_files(item, name)
        }
        return item | changed

    def _part(self, part: dict[str, Any], place: str) -> dict[str, Any]:
        named = {name: part[name] for name in _NAMED if part.get(name) is not None}
        if len(named) != 1 or "file_url" in named:
            raise RequestError(f"{place}: give either file_id or file_data", param=place)
        [(field, value)] = named.items()
        param = f"{place}.{field}"
        if not isinstance(value, str):
            raise RequestError(f"{param}: must be a string", param=param)
        name, content = self._kept(value, param) if field == "file_id" else _decoded(value, param)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            reason = "only text files are read here, in UTF-8"
            raise RequestError(f"{param}: {reason}", param=param) from None
        title = part.get("filename") or name
        return {"type": "input_text", "text": f"File {title}:\n{text}"}

    def _kept(self, file_id: str, param: str) -> tuple[str, bytes]:
        try:
            file = self.files.get(file_id, self.owner)
        except NotFoundError as error:
            error.param = param
            raise
        self.left_bytes -= file.bytes
        if self.left_bytes < 0:
            raise RequestError(f"{param}: with it the request is too long", param=param)
        return file.filename, self.files.content(file).read_bytes()


def _has_files(item: dict[str, Any], name: str) -> bool:
    parts = item.get(name)
    return isinstance(parts, list) and any(map(_is_file, parts))


def _is_file(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "input_file"


def _decoded(value: str, param: str) -> tuple[str, bytes]:
    """Base64, by itself or in a `data:` URL, of a file without a name."""
    head, comma, body = value.partition(",") if value.startswith("data:") else ("", "", value)
    if comma and not head.endswith(";base64"):
        return _NAMELESS, unquote_to_bytes(body)
    try:
        return _NAMELESS, base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise RequestError(f"{param}: is not base64", param=param) from None
