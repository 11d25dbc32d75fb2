"""What a schema asks for is held while decoding, or known to be ignored."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError

from agentlm.errors import RequestError
from agentlm.server.openai.schemas import BOUNDS, check_ends, check_size, object_schema, unheld
from support.serving import Serve


def where(**keywords: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": keywords}, "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "ignored"),
    [
        (where(type="array", uniqueItems=True), "uniqueItems"),
        (where(type="array", contains={"const": 1}), "contains"),
        (where(type="number", multipleOf=0.5), "multipleOf"),
        (where(allOf=[{"type": "integer"}, {"minimum": 5}]), "allOf of several"),
        (where(type="string", pattern="^a", maxLength=3), "pattern together with maxLength"),
        (where(type=["string", "null"], format="regex"), "its format"),
        (where(anyOf=[{"type": "null"}, {"not": {"type": "string"}}]), "not"),
        ({"$defs": {"A": {"if": {"type": "string"}}}}, "if"),
    ],
)
def test_what_would_be_ignored_is_named(schema: Any, ignored: str) -> None:
    assert unheld(schema) == ignored


@pytest.mark.parametrize(
    "schema",
    [
        where(type="string", pattern="^a"),
        where(type="string", format="date"),
        where(type="array", uniqueItems=False, minItems=1),
        where(allOf=[{"type": "integer"}]),
        where(enum=[{"not": "a keyword"}]),
        {"type": "object", "properties": {"not": {"type": "string"}, "if": {"type": "integer"}}},
        *(True, [], {}, {"type": {}, "format": {}, "allOf": {}}),
    ],
)
def test_the_rest_is_held(schema: Any) -> None:
    assert unheld(schema) is None


def test_arguments_are_an_object_even_if_nothing_says_so() -> None:
    assert object_schema({}, "p", "it") == {"type": "object"}
    assert object_schema({"$ref": "#/$defs/A"}, "p", "it")["type"] == "object"


async def test_a_function_without_strict_is_held_as_far_as_may_be(serve: Serve) -> None:
    function: Any = {"name": "f", "parameters": where(type="array", uniqueItems=True)}
    async with serve("Thought: t\nFinal Answer: Done.") as running:
        await running.client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "Hi"}],
            tools=[{"type": "function", "function": function}],
        )

        constraint: Any = running.engine.requests[0].constraint
        assert "uniqueItems" in constraint.structural_tag


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth - 1):
        schema = where(**schema)
    return schema


LARGEST: dict[str, Any] = {
    "nested schemas": nested,
    "properties": lambda n: {"properties": {f"p{i}": {} for i in range(n)}},
    "enum values": lambda n: where(enum=list(range(n))),
    "alternatives": lambda n: where(anyOf=[{"minimum": i} for i in range(n)]),
    "characters in a pattern": lambda n: where(type="string", pattern="a" * n),
}


@pytest.mark.parametrize("what", LARGEST)
def test_a_schema_may_be_so_large_and_no_larger(what: str) -> None:
    most, make = BOUNDS[what], LARGEST[what]

    check_size({"response_format": make(most - (what == "properties"))})
    with pytest.raises(RequestError, match=f"at most {most} {what} in one request, got") as refused:
        check_size({"response_format": make(most + 1)})

    assert refused.value.param == "response_format"


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        (where(enum=["x" * 200_000]), "bytes"),
        ({"$defs": {f"d{i}": {} for i in range(3_000)}}, "properties"),
        ({"patternProperties": {"a" * 1_000: {}}}, "characters in a pattern"),
        (where(prefixItems=[where(enum=list(range(300)))] * 4), "enum values"),
        (where(oneOf=[{"allOf": [{}] * 100}] * 3), "alternatives"),
    ],
)
def test_what_is_counted_hides_nowhere(schema: Any, what: str) -> None:
    with pytest.raises(RequestError, match=f"at most {BOUNDS[what]} {what} "):
        check_size({"response_format": schema})


async def test_a_requests_schemas_are_bounded_together(serve: Serve) -> None:
    values = {"parameters": where(enum=[f"value {i}" for i in range(600)])}
    tools: Any = [{"type": "function", "function": {"name": n, **values}} for n in ("f", "g")]
    async with serve() as running:
        with pytest.raises(BadRequestError, match="at most 1000 enum values") as refused:
            await running.client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "Hi"}], tools=tools
            )

    assert refused.value.param == "tools[1].function.parameters"


TREE = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
LIST = {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"next": {"$ref": "#"}}}]}


def defs(**named: Any) -> dict[str, Any]:
    return {"$ref": "#/$defs/a", "$defs": named}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        defs(a={"$ref": "#/$defs/b"}, b={"$ref": "#/$defs/a"}),
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        defs(a={"allOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}),
        {"anyOf": [{"$ref": "#"}, {"type": "array", "items": {"$ref": "#"}, "minItems": 2}]},
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
    ],
)
async def test_a_schema_without_an_end_is_refused(serve: Serve, schema: Any) -> None:
    held: Any = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    async with serve() as running:
        with pytest.raises(BadRequestError, match="leads back to itself") as refused:
            await running.client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "Hi"}], response_format=held
            )
        assert refused.value.param == "response_format"


@pytest.mark.parametrize(
    "schema",
    [
        TREE,
        LIST,
        defs(a={"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}, b=where(**{"$ref": "#"})),
        defs(a={"type": "string"}),
        {"$ref": "#/$defs/nowhere"},
    ],
)
def test_recursion_that_can_end_is_let_through(schema: Any) -> None:
    check_ends({"response_format": schema})


@pytest.mark.parametrize(
    "schema",
    [
        where(type="string", pattern="^(?=a)b"),
        where(type="string", pattern="a(?!b)"),
        where(**{"$ref": "https://example.org/schema.json"}),
        where(**{"$ref": "other.json#/a"}),
    ],
)
def test_what_is_ignored_in_silence_is_not_held(schema: Any) -> None:
    assert unheld(schema)


def test_a_bracket_that_is_escaped_begins_no_lookahead() -> None:
    assert unheld(where(type="string", pattern=r"a\(\?=b")) is None
