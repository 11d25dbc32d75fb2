"""What a schema asks for is held while decoding, or known to be ignored."""

from __future__ import annotations

from typing import Any

import pytest

from agentlm.server.openai.schemas import object_schema, unheld
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
    assert object_schema({}, "p") == {"type": "object"}
    assert object_schema({"$ref": "#/$defs/A"}, "p")["type"] == "object"


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
