"""JSON schemas of a request: which are invalid, too large, or only partly enforced by decoding."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from agentlm.errors import RequestError
from agentlm.server.openai.references import endless_reference

_IGNORED = (
    *("not", "if", "multipleOf", "uniqueItems", "contains", "minContains", "maxContains"),
    *("dependentRequired", "dependentSchemas", "dependencies"),
)
_TOGETHER = (
    ({"pattern", "format"}, {"minLength", "maxLength"}),
    ({"propertyNames"}, {"properties", "patternProperties", "unevaluatedProperties"}),
    ({"patternProperties"}, {"properties"}),
)
"""If a schema has keywords of both kinds, decoding heeds only one of the kinds."""
_FORMATS = (
    *("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"),
    *("uri", "uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
)
_LOOKAHEAD = re.compile(r"(?<!\\)(?:\\\\)*\(\?[=!]")
_BY_NAME = {"properties", "patternProperties", "$defs", "definitions"}
"""Keywords whose keys are names chosen by the caller."""
_VALUES = {"enum", "const", "default", "examples"}

BOUNDS = {
    "bytes": 131_072,
    "nested schemas": 32,
    "properties": 2_000,
    "enum values": 1_000,
    "alternatives": 250,
    "characters in a pattern": 512,
}
"""Limits for a request's schemas together, except nesting and patterns. Within them a grammar takes
at most some seconds to compile, and nearly always far less than one."""
_LARGEST = {"nested schemas", "characters in a pattern"}
_LISTS = {"enum": "enum values"} | dict.fromkeys(("anyOf", "oneOf", "allOf"), "alternatives")


def json_form(schema: Any) -> dict[str, Any]:
    """A JSON schema as an element of a structural tag."""
    return {"type": "json_schema", "json_schema": schema}


def object_schema(parameters: dict[str, Any] | None, param: str, whose: str) -> dict[str, Any]:
    """The schema of a function's arguments, which are an object even if it doesn't say so.

    `whose` names the function's owner in errors. Raises RequestError for an obviously invalid
    schema.
    """
    # Null counts as absent: serialisers of other languages write it.
    keywords = {key: value for key, value in (parameters or {}).items() if value is not None}
    schema = {"type": "object"} | keywords
    for name, kind in (("properties", dict), ("required", list)):
        if not isinstance(schema.get(name, kind()), kind):
            expected = "an object" if kind is dict else "a list"
            got = type(schema[name]).__name__
            raise RequestError(
                f"{param}: {name} of {whose} must be {expected}, got {got}", param=param
            )
    if schema["type"] != "object":
        raise RequestError(
            f"{param}: the type of {whose} must be 'object', got {str(schema['type'])[:64]!r}",
            param=param,
        )
    return schema


def check_size(schemas: Mapping[str, Any]) -> None:
    """Raises RequestError for schemas (by their place) that are too large to compile."""
    sizes: Counter[str] = Counter()
    for param, schema in schemas.items():
        for what, size in _sizes(schema):
            sizes[what] = max(sizes[what], size) if what in _LARGEST else sizes[what] + size
            if sizes[what] > BOUNDS[what]:
                raise RequestError(
                    f"{param}: decoding can be held to at most {BOUNDS[what]} {what} in one "
                    f"request, got {sizes[what]}",
                    param=param,
                )


def _sizes(schema: Any) -> Iterator[tuple[str, int]]:
    """The counts of a schema; the most expensive to compile come last."""
    yield "bytes", len(json.dumps(schema, ensure_ascii=False).encode(errors="surrogatepass"))
    left = [(schema, 1)]
    while left:
        part, depth = left.pop()
        if isinstance(part, list):
            left += [(item, depth) for item in part]
        if not isinstance(part, dict):
            continue
        yield "nested schemas", depth
        for keyword, value in part.items():
            if keyword in _LISTS and isinstance(value, list):
                yield _LISTS[keyword], len(value)
            elif keyword in _BY_NAME and isinstance(value, dict):
                yield "properties", len(value)
            if keyword == "pattern" and isinstance(value, str):
                yield "characters in a pattern", len(value)
            elif keyword == "patternProperties" and isinstance(value, dict):
                yield "characters in a pattern", max(map(len, value), default=0)
        left += [(child, depth + 1) for child in _parts(part)]


def check_ends(schemas: Mapping[str, Any]) -> None:
    """Raises RequestError for a schema (by its place) under which an answer could not end."""
    for param, schema in schemas.items():
        if name := endless_reference(schema):
            raise RequestError(
                f"{param}: what $ref {name[:64]!r} names leads back to itself: nothing that ends "
                "can be written under it",
                param=param,
            )


def check_held(schema: Any, param: str) -> None:
    """Raises RequestError for a schema that decoding would enforce only partly."""
    if ignored := unheld(schema):
        raise RequestError(
            f"{param}: decoding can't be held to this schema: {ignored} would be ignored",
            param=param,
        )


def unheld(schema: Any) -> str | None:
    """The first part of a schema that xgrammar 0.2.8 would silently ignore; None: there is none."""
    if isinstance(schema, list):
        return next(filter(None, map(unheld, schema)), None)
    if not isinstance(schema, dict):
        return None
    return next(_ignored(schema), None) or unheld(list(_parts(schema)))


def _ignored(schema: dict[str, Any]) -> Iterator[str]:
    yield from (name for name in _IGNORED if schema.get(name) not in (None, False))
    for some, others in _TOGETHER:
        if (one := some & schema.keys()) and (other := others & schema.keys()):
            yield f"{min(one)} together with {min(other)}"
    if isinstance(all_of := schema.get("allOf"), list) and len(all_of) > 1:
        yield "allOf of several"
    named = schema.get("patternProperties")
    if isinstance(named, dict) and len(named) > 1:
        yield "patternProperties of several"
    if isinstance(pattern := schema.get("pattern"), str) and _LOOKAHEAD.search(pattern):
        yield "the lookahead in its pattern"
    if isinstance(name := schema.get("$ref"), str) and name != "#" and not name.startswith("#/"):
        yield f"its $ref {name[:64]!r}, which leads out of it"
    kind = schema.get("type")
    is_text = kind == "string" or (isinstance(kind, list) and "string" in kind)
    if is_text and schema.get("format", _FORMATS[0]) not in _FORMATS:
        yield "its format"


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas that a schema consists of."""
    for keyword, value in schema.items():
        if keyword in _BY_NAME and isinstance(value, dict):
            yield from value.values()
        elif keyword not in _VALUES:
            yield value
