"""A conversation in short, written by the model, for its client alone to go on from."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import CompactedResponse
from pydantic import TypeAdapter

from support.serving import Serve

SAID: Any = [
    {"role": "user", "content": "We launch on Tuesday."},
    {"role": "assistant", "content": "Understood."},
]


async def test_it_is_gone_on_from_the_summary(serve: Serve) -> None:
    async with serve("Launch: Tuesday.", "Yes.") as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            asked = {"model": "tiny", "input": SAID, "prompt_cache_key": "k"}
            raw = (await client.post("/v1/responses/compact", json=asked)).content
        short = TypeAdapter(CompactedResponse).validate_json(raw, strict=True)
        [item] = short.output
        assert item.type == "compaction"
        assert "Tuesday" not in item.encrypted_content
        more: Any = [item.to_dict(mode="json"), {"role": "user", "content": "Sure?"}]
        answer = await running.client.responses.create(model="tiny", input=more)
        apart, trajectory = running.trajectories()

    assert answer.output_text == "Yes."
    assert short.usage.output_tokens > 0
    heard = [message.content for message in trajectory.interactions[0].messages]
    assert "We launch on Tuesday." in heard[0]
    assert heard[0].endswith("Launch: Tuesday.")
    assert {step.text for step in apart.steps} == {""}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
        ),
        ({"tools": [{"type": "bash"}]}, "tools"),
        ({"previous_response_id": "resp_none"}, "previous_response_id"),
        ({"input": [{"type": "compaction"}]}, "input[0].encrypted_content"),
        (
            {"input": [{"type": "compaction", "encrypted_content": "gAAAA"}]},
            "input[0].encrypted_content",
        ),
    ],
)
async def test_a_wrong_field_is_named(serve: Serve, change: dict[str, Any], param: str) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        asked = {"model": "tiny", "input": SAID} | change
        answer = await client.post("/v1/responses/compact", json=asked)

    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param


async def test_of_an_answer_with_an_open_call_there_is_no_summary(serve: Serve) -> None:
    call = 'Thought: t\nAction: lookup\nAction Input: {"key": "a"}'
    async with serve(call) as running:
        lookup: Any = {"type": "function", "name": "lookup", "parameters": {}}
        answer = await running.client.responses.create(model="tiny", input="a", tools=[lookup])
        with pytest.raises(openai.BadRequestError, match="has no output"):
            await running.client.responses.compact(model="tiny", previous_response_id=answer.id)
