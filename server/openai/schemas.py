"""JSON schemas of a request: what is none, and what decoding would hold only in part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentlm.errors import RequestError

_IGNORED = (
    *("not", "if", "multipleOf", "uniqueItems", "contains", "minContains", "maxContains"),
    *("dependentRequired", "dependentSchemas", "dependencies"),
)
_TOGETHER = (
    ({"pattern", "format"}, {"minLength", "maxLength"}),
    ({"propertyNames"}, {"properties", "patternProperties", "unevaluatedProperties"}),
    ({"patternProperties"}, {"properties"}),
)
"""Of keywords of the first kind and of the second, decoding heeds those of one."""
_FORMATS = (
    *("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"),
    *("uri", "uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
)
_BY_NAME = {"properties", "patternProperties", "$defs", "definitions"}
"""Keywords whose keys are names of the caller's."""
_VALUES = {"enum", "const", "default", "examples"}


def object_schema(given: dict[str, Any], param: str) -> dict[str, Any]:
    """The schema of a function's arguments, which are an object whether it says so or not.

    Raises RequestError for what is no such schema at first sight.
    """
    schema = {"type": "object", **given}
    for name, kind in (("properties", dict), ("required", list)):
        if not isinstance(schema.get(name, kind()), kind):
            expected = "an object" if kind is dict else "a list"
            raise RequestError(f"{param}: its {name} must be {expected}", param=param)
    if schema["type"] != "object":
        raise RequestError(f"{param}: its type must be 'object'", param=param)
    return schema


def check_held(schema: Any, param: str) -> None:
    """Raises RequestError for a schema that decoding would hold only in part."""
    if found := unheld(schema):
        raise RequestError(
            f"{param}: decoding can't be held to this schema: {found} would be ignored",
            param=param,
        )


def unheld(schema: Any) -> str | None:
    """What xgrammar 0.2.8 would quietly ignore of a schema, the first of it; None: nothing."""
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
    kind = schema.get("type")
    is_text = kind == "string" or (isinstance(kind, list) and "string" in kind)
    if is_text and schema.get("format", _FORMATS[0]) not in _FORMATS:
        yield "its format"


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas that a schema is made of."""
    for keyword, value in schema.items():
        if keyword in _BY_NAME and isinstance(value, dict):
            yield from value.values()
        elif keyword not in _VALUES:
            yield value
