"""What is told about the API itself: its document, its pages, and roads that lead nowhere."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openai.types import FileObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel

from support.serving import Serve

ORIGIN = {"origin": "https://app.example.org"}
PREFLIGHT = {**ORIGIN, "access-control-request-method": "POST"}
CHAT = "/v1/chat/completions"


def properties(schema: dict[str, Any], document: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return set(schema["properties"])


@pytest.mark.parametrize(
    ("method", "path", "media", "kind"),
    [
        ("post", CHAT, "application/json", ChatCompletion),
        ("post", CHAT, "text/event-stream", ChatCompletionChunk),
        ("get", "/v1/models/{name}", "application/json", Model),
        ("get", "/v1/files/{file_id}", "application/json", FileObject),
        ("post", "/v1/fine_tuning/jobs", "application/json", FineTuningJob),
    ],
)
async def test_the_document_says_what_answers_hold(
    serve: Serve, method: str, path: str, media: str, kind: type[BaseModel]
) -> None:
    async with serve() as running, httpx.AsyncClient() as client:
        document = (await client.get(f"{running.url}/openapi.json")).json()

    content = document["paths"][path][method]["responses"]["200"]["content"][media]
    assert set(kind.model_fields) <= properties(content["schema"], document)
    assert "$defs" not in str(document)


async def test_the_documents_page_needs_no_other_server(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        page = (await client.get("/docs")).text
        script = await client.get("/static-offline-docs/swagger-ui-bundle.js")

    assert "https://" not in page
    assert "/static-offline-docs/swagger-ui-bundle.js" in page
    assert script.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v1/chat/completion", 404, "did you mean /v1/chat/completions?"),
        ("POST", "/chat/completions", 404, "POST /chat/completions; did you mean"),
        ("GET", CHAT + "s", 404, "did you mean"),
        ("PUT", CHAT, 405, f"PUT is not possible on {CHAT}; allowed: "),
    ],
)
async def test_a_road_to_nowhere_names_the_next_one(
    serve: Serve, method: str, path: str, status: int, words: str
) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        answer = await client.request(method, path, json={})

    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


async def test_only_named_origins_may_call(serve: Serve) -> None:
    origins = ("https://app.example.org",)
    async with (
        serve(cors_origins=origins, api_key="k") as running,
        httpx.AsyncClient(base_url=running.url) as client,
    ):
        allowed = await client.options(CHAT, headers=PREFLIGHT)
        other = {**PREFLIGHT, "origin": "https://evil.example.org"}
        refused = await client.options(CHAT, headers=other)
        asked = await client.get("/v1/models", headers={**ORIGIN, "authorization": "Bearer k"})

    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "access-control-allow-origin" not in refused.headers
    assert asked.headers["access-control-allow-origin"] == "https://app.example.org"


async def test_no_origin_may_call_by_default(serve: Serve) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        answer = await client.options(CHAT, headers=PREFLIGHT)

    assert "access-control-allow-origin" not in answer.headers
