"""What an MCP server says of its tools, as far as it can be believed.

Names and schemas come from another program. A name has to be one; of a schema, those words are kept
that every decoder and validator agrees on and that cost bounded time to check (no `pattern`: a
regular expression from a stranger can take for ever). The server checks the rest itself.
"""

from __future__ import annotations

import re
from typing import Any

from agentlm.agent.tool import ToolError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_DEPTH = 8
_WORDS = 2_000
_TEXT_CHARS = 1_000


class SchemaRefused(Exception):
    """The tool can't be offered; the text says why."""


def checked_name(name: str) -> str:
    """Raises SchemaRefused if a model could not call it by that."""
    if not _NAME.fullmatch(name):
        raise SchemaRefused(f"{name[:80]!r} is not a name of a tool")
    return name.replace(".", "_")


def kept_schema(schema: Any) -> dict[str, Any]:
    """The part of an arguments schema that is used. Raises SchemaRefused."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise SchemaRefused("arguments that are not an object")
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
            raise SchemaRefused("a schema that is too large or too deep")
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
            kept["required"] = [name for name in wanted if name in properties]
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options:
            kept["anyOf"] = [self.keep(option, depth - 1) for option in options]
        return kept

    def _plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        kind = schema.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if kind is not None and all(isinstance(one, str) and one in _TYPES for one in kinds):
            kept["type"] = kind
        if isinstance(schema.get("description"), str):
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
    """Raises ToolError where the arguments do not fit the schema that the model was shown."""
    from jsonschema import Draft202012Validator

    problems = list(Draft202012Validator(schema).iter_errors(arguments))
    if problems:
        said = "; ".join(f"{error.json_path}: {error.message[:200]}" for error in problems[:3])
        raise ToolError(f"the arguments do not fit: {said}")


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
