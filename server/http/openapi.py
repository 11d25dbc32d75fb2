"""The server's OpenAPI document: the parts that FastAPI can't know.

Routes read their bodies themselves (with a size limit and OpenAI's error format), so `reads`
declares the body's type beside them. All operations refuse in the same format and take a bearer
key.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

_SCHEMAS = "#/components/schemas/"
_ERROR = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}

BYTES_SCHEMA = {"type": "string", "format": "binary"}
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": BYTES_SCHEMA}}}
}
"""For `responses` of a route that answers with a file."""
Responses = dict[int | str, dict[str, Any]]


def answers(
    kind: type[BaseModel], events: type[BaseModel] | None = None, *, followed: bool = False
) -> Responses:
    """For `responses` of a route that answers with one type, or with events of the other.

    `followed`: or with events that another route describes.
    """
    content = {"application/json": {"schema": _schema(kind)}}
    if events is not None:
        content["text/event-stream"] = {"schema": _schema(events)}
    if followed:
        content["text/event-stream"] = {"schema": _EVENT}
    return {200: {"content": content}}


_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""An event as programs that read streams get it."""


def answers_list(kind: type[BaseModel]) -> Responses:
    """For `responses` of a route that answers with a page of this type."""
    page = {
        "type": "object",
        "required": ["object", "data"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": _schema(kind)},
            "first_id": {"type": ["string", "null"]},
            "last_id": {"type": ["string", "null"]},
            "has_more": {"type": "boolean"},
        },
    }
    return {200: {"content": {"application/json": {"schema": page}}}}


def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    # Several of OpenAI's types have the same name (`Choice`, `Error`); each keeps its owner's name.
    template = f"{_SCHEMAS}{kind.__name__}.{{model}}"
    schema = kind.model_json_schema(mode="serialization", ref_template=template)
    # Besides the fields of its own type an answer allows others, as OpenAI's types do.
    if "properties" in schema:
        schema["properties"].setdefault("object", {"type": "string"})
    named = schema.pop("$defs", {})
    return schema | {"$defs": {f"{kind.__name__}.{name}": it for name, it in named.items()}}


def reads(kind: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra` of a route that reads a JSON body of this kind."""
    schema = kind.model_json_schema(ref_template=_SCHEMAS + "{model}")
    return reads_content("application/json", schema)


def asks(kind: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra` of a route whose query has the fields of this kind, as text."""
    names = (name for name in kind.model_fields if name != "tags")
    shared = {"in": "query", "required": False, "schema": {"type": "string"}}
    described = ((name, kind.model_fields[name].description) for name in names)
    return {"parameters": [{"name": n, "description": d, **shared} for n, d in described]}


def reads_content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """For `openapi_extra` of a route that reads a body of another type."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        app.openapi_schema = _completed(document)
    return app.openapi_schema


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["tags"] = [path.removeprefix("/v1").split("/")[1]]
            operation["security"] = [{}] if path == "/health" else [{"key": []}]
            operation["responses"].pop("422", None)
            operation["responses"] |= {
                "4XX": _error("The request can't be served as it is."),
                "5XX": _error("The server can't answer now; it may be tried again."),
            }
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in part.get("content", {}).values():
                    schemas |= _take_definitions(content.get("schema"))
    return document


def _take_definitions(schema: Any) -> dict[str, Any]:
    """Collect nested type definitions; the document names them in one place."""
    definitions: dict[str, Any] = {}
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            definitions |= part.pop("$defs", {})
            left += part.values()
        elif isinstance(part, list):
            left += part
    return definitions


def _error(description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _SCHEMAS + "Error"}}}
    return {"description": description, "content": content}
