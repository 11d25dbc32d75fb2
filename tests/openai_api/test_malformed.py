"""Whatever the OpenAPI document allows, and what it does not: no request makes the server fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.background import in_background
from support.server_process import Rules
from support.serving import Running, Serve, running

EXAMPLES = int(os.environ.get("AGENTLM_TEST_EXAMPLES", "5"))
"""Requests of each operation; a long run is for people: AGENTLM_TEST_EXAMPLES=200 pytest …"""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    rules: Any = Rules()
    with in_background(running(tmp_path_factory.mktemp("log"), rules, "chatml", {})) as server:
        rules.play(server)
        yield server


def test_no_request_makes_it_fail(server: Running) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "store": True}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    begun = {"items": [{"role": "user", "content": "Hi"}]}
    named = httpx.post(f"{server.url}/v1/conversations", json=begun).json()["id"]
    items = httpx.get(f"{server.url}/v1/conversations/{named}/items").json()
    there = {
        "trajectory_id": answer.headers["x-trajectory-id"],
        "completion_id": answer.json()["id"],
        "response_id": answer.json()["id"].replace("chatcmpl-", "resp_"),
        "conversation_id": named,
        "item_id": items["first_id"],
    }
    httpx.get(f"{server.url}/openapi.json", timeout=60)  # made once; loading waits for 10 s
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    for result in document.get_all_operations():
        bombard(result.ok(), there)


def bombard(operation: Any, there: dict[str, str]) -> None:
    """Send what the document allows of an operation, and what it does not.

    Of a model that is served, and, unless they would be deleted, of rows that are `there`.
    """
    strategies = [
        operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode
    ]

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.one_of(strategies))
    def send(case: Any) -> None:
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "tiny"
        if case.method != "DELETE":
            for name in case.path_parameters.keys() & there.keys():
                case.path_parameters[name] = there[name]
        case.call_and_validate(checks=CHECKS)

    send()


words = st.sampled_from(
    ["type", "properties", "required", "maxLength", "enum", "description", "string", "object"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
)


@settings(max_examples=30, deadline=None)
@given(anything)
@example({"properties": {"a": True}})
@example({"properties": {"a": {"type": "string", "description": 1}}})
@example({"properties": {"a": {"type": "string", "maxLength": "x"}}})
def test_whatever_a_function_is_said_to_read(server: Running, parameters: Any) -> None:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
        "max_tokens": 1,
    }
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    counted = httpx.post(f"{server.url}/tokenize", json=body)

    assert answer.status_code == counted.status_code, (answer.text, counted.text)
    assert answer.status_code == 200 or answer.json()["error"]["param"].startswith(
        "tools[0].function"
    )


async def test_every_route_says_what_it_reads(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]

    bodiless = [
        path
        for path, operations in paths.items()
        for method, operation in operations.items()
        if method in ("post", "put", "patch") and "requestBody" not in operation
    ]
    assert set(bodiless) == {
        *("/v1/responses/{response_id}/cancel", "/v1/aliases/{alias}/rollback"),
        *(f"/v1/fine_tuning/jobs/{{job_id}}/{verb}" for verb in ("cancel", "pause", "resume")),
    }
