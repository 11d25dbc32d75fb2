"""The part of an MCP server's tool descriptions that can be trusted.

Names and schemas come from another program. A name has to be valid. Of a schema, only keywords are
kept on which every decoder and validator agrees and which take bounded time to check (no `pattern`:
a stranger's regular expression can take for ever). The server checks the rest itself.
"""

from __future__ import annotations

import math
import re
from typing import Any

from mcp_types import ToolAnnotations
from pydantic import ValidationError

from agentlm.agent.tool import ToolError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_HEADER = "x-mcp-header"
_DEPTH = 8
_WORDS = 2_000
_TEXT_CHARS = 1_000


class SchemaRefused(Exception):
    """The tool can't be offered; the message says why."""


def checked_name(name: str) -> str:
    """Raises SchemaRefused if a model could not call a tool by this name."""
    if not _NAME.fullmatch(name):
        raise SchemaRefused(f"{name[:80]!r} is not a name of a tool")
    return name.replace(".", "_")


def listed_tool(tool: Any) -> dict[str, Any]:
    """The used part of a tool as its server lists it. Raises SchemaRefused.

    `outputSchema` is left out: the SDK's client would check results against it, including patterns.
    """
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        raise SchemaRefused("it is no object with a name")
    checked_name(tool["name"])
    schema = kept_schema(tool.get("inputSchema"))
    texts = {key: tool[key] for key in ("title", "description") if _is_text(tool.get(key))}
    try:
        annotations = ToolAnnotations.model_validate(tool.get("annotations") or {}, by_name=False)
    except ValidationError:
        annotations = ToolAnnotations()
    return {
        "name": tool["name"],
        "inputSchema": {**schema, "properties": _with_headers(schema, tool["inputSchema"])},
        "annotations": annotations.model_dump(by_alias=True, exclude_none=True),
        **texts,
    }


def _with_headers(kept: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The kept properties, including which of them the client has to send as HTTP headers."""
    return {
        name: value | ({_HEADER: header} if _is_text(header := _header(schema, name)) else {})
        for name, value in kept["properties"].items()
    }


def _header(schema: dict[str, Any], name: str) -> Any:
    listed = schema["properties"][name]
    return listed.get(_HEADER) if isinstance(listed, dict) else None


def kept_schema(schema: Any) -> dict[str, Any]:
    """The used part of an arguments schema. Raises SchemaRefused."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise SchemaRefused('its inputSchema is not of {"type": "object"}')
    definitions = schema.get("$defs") or schema.get("definitions")
    kept = _Keeper(definitions if isinstance(definitions, dict) else {}).keep(schema, _DEPTH)
    return {"type": "object", "properties": {}, **kept}


class _Keeper:
    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._left = _WORDS

    def keep(self, schema: Any, depth: int) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0 or depth < 0:
            raise SchemaRefused("its inputSchema is recursive, too deep or too large")
        if not isinstance(schema, dict):
            return {}
        if isinstance(schema.get("$ref"), str):
            return self.keep(self._definitions.get(schema["$ref"].rpartition("/")[2]), depth - 1)
        kept = self._plain(schema)
        if isinstance(schema.get("items"), dict):
            kept["items"] = self.keep(schema["items"], depth - 1)
        properties = schema.get("properties")
        if isinstance(properties, dict):
            kept["properties"] = {
                str(name): self.keep(value, depth - 1) for name, value in properties.items()
            }
            required = schema.get("required")
            wanted = required if isinstance(required, list) else []
            kept["required"] = [
                name for name in wanted if isinstance(name, str) and name in properties
            ]
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options:
            kept["anyOf"] = [self.keep(option, depth - 1) for option in options]
        return kept

    def _plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        kind = schema.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if kinds and all(isinstance(one, str) and one in _TYPES for one in kinds):
            kept["type"] = kind
        if _is_text(schema.get("description")):
            kept["description"] = schema["description"][:_TEXT_CHARS]
        values = schema.get("enum")
        if isinstance(values, list) and values and all(_is_scalar(value) for value in values):
            kept["enum"] = values
            self._left -= len(values)
        if "const" in schema and _is_scalar(schema["const"]):
            kept["enum"] = [schema["const"]]
        if isinstance(schema.get("additionalProperties"), bool):
            kept["additionalProperties"] = schema["additionalProperties"]
        return kept


def check_arguments(arguments: dict[str, Any], schema: dict[str, Any]) -> None:
    """Raises ToolError if the arguments don't fit the schema that the model saw."""
    from jsonschema import Draft202012Validator

    problems = list(Draft202012Validator(schema).iter_errors(arguments))
    if problems:
        errors = "; ".join(f"{error.json_path}: {error.message[:200]}" for error in problems[:3])
        raise ToolError(f"the arguments do not fit: {errors}")


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int) or _is_text(value)


def _is_text(value: Any) -> bool:
    """Whether the text can be encoded: JSON may contain lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
