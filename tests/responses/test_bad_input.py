"""Whatever is sent, the answer names what is wrong in this wire's words, and nothing breaks."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from agentlm.store import ApiKey
from support.serving import Running, Serve

HI = {"role": "user", "content": "Hi"}
LOOKUP = {"type": "function", "name": "lookup"}
UNHELD = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
CALL = {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
IMAGE = {"type": "input_image", "image_url": "data:,"}


def held_to(schema: Any) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "it", "schema": schema}}


def allowed(*names: str) -> dict[str, Any]:
    tools = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": "auto", "tools": tools}


async def post(running: Running, body: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{running.url}/v1/responses", json=body)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["Hi"]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "Hi"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"text": "a"}]}]}, "input[0].content[0].type"),
        ({"input": [IMAGE]}, "input[0].type"),
        ({"input": [{"type": "teleport"}]}, "input[0].type"),
        ({"input": [{"type": ["message"]}]}, "input[0].type"),
        ({"input": [{"type": "custom_tool_call", "call_id": "a"}]}, "input[0].type"),
        ({"input": [HI, {"role": "assistant", "content": "Hi"}]}, "input"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "input"),
        ({"input": [HI, RESULT]}, "input[1].call_id"),
        ({"input": [HI, RESULT, CALL]}, "input[1].call_id"),
        ({"input": [HI, CALL]}, "input[1].call_id"),
        ({"input": [HI, CALL, HI]}, "input[1].call_id"),
        ({"input": [HI, CALL, CALL, RESULT]}, "input[2].call_id"),
        ({"input": [HI, CALL, RESULT, RESULT]}, "input[3].call_id"),
        ({"input": [HI, {**CALL, "call_id": ""}]}, "input[1].call_id"),
        ({"input": [HI, CALL, {**RESULT, "output": 42}]}, "input[2].output"),
        ({"input": [HI, CALL, {**RESULT, "output": [IMAGE]}]}, "input[2].output[0].type"),
        ({"input": None}, "input"),
        ({"previous_response_id": "resp_none"}, "previous_response_id"),
        ({"previous_response_id": "chatcmpl-none"}, "previous_response_id"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 8, "min_tokens": 9}, "min_tokens"),
        ({"max_tokens": 8}, "max_tokens"),
        ({"messages": [HI]}, "messages"),
        ({"n": 2}, "n"),
        ({"temperature": 9}, "temperature"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"include": ["web_search_call.results"]}, "include"),
        ({"include": "web_search_call.action.sources"}, "include"),
        ({"truncation": "last"}, "truncation"),
        ({"prompt": {"id": "a"}}, "prompt"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"stream_options": {}}, "stream_options"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
        ),
        ({"stream": True, "stream_options": {"a": 1}}, "stream_options.a"),
        ({"tools": [{"type": "teleport"}]}, "tools[0].type"),
        *(
            ({"tools": [{"type": kind}]}, "tools[0].type")
            for kind in (
                *("file_search", "code_interpreter", "computer", "computer_use_preview"),
                *("image_generation", "local_shell", "apply_patch", "custom", "tool_search"),
                *("programmatic_tool_calling", "web_search"),
            )
        ),
        (
            {"tools": [{"type": "web_search", "search_context_size": "high"}]},
            "tools[0].search_context_size",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "function": {"name": "a"}}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tools": [LOOKUP, LOOKUP]}, "tools[1].name"),
        ({"tools": [{"type": "bash"}, {**LOOKUP, "name": "bash"}]}, "tools[1].name"),
        ({"tools": [{**LOOKUP, "parameters": {"type": "string"}}]}, "tools[0].parameters"),
        ({"tools": [{**LOOKUP, "parameters": UNHELD, "strict": True}]}, "tools[0].parameters"),
        ({"tools": [{"type": "mcp", "server_url": "http://a"}]}, "tools[0].server_label"),
        (
            {"tools": [{"type": "mcp", "server_label": "a", "server_url": "http://a"}]},
            "tools[0].server_url",
        ),
        ({"tools": [{"type": "bash", "environment": {}}]}, "tools[0].environment"),
        ({"tools": [{**LOOKUP, "file_ids": ["file-1"]}]}, "tools[0].file_ids"),
        ({"text": held_to(UNHELD)}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "it"}}}, "text.format.schema"),
        ({"text": {"verbosity": "banana"}}, "text.verbosity"),
        ({"text": {"banana": 1}}, "text.banana"),
        ({"reasoning": {"effort": "banana"}}, "reasoning.effort"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": {"context": "current_turn"}}, "reasoning.context"),
        ({"reasoning": {"banana": 1}}, "reasoning.banana"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "a"}}, "tool_choice.name"),
        ({"tools": [LOOKUP], "tool_choice": allowed("lookup", "b")}, "tool_choice.tools[1].name"),
        ({"tools": [LOOKUP], "tool_choice": allowed()}, "tool_choice.tools"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"metadata": {"a": "a" * 513}}, "metadata.a"),
        ({"temprature": 1}, "temprature"),
    ],
)
async def test_a_wrong_field_is_named(serve: Serve, change: dict[str, Any], param: str) -> None:
    async with serve() as running:
        answer = await post(running, {"model": "tiny", "input": "Hi", **change})

        error = answer.json()["error"]
        assert (error["param"], error["type"]) == (param, "invalid_request_error")
        unknown = "none" in str(change.get("previous_response_id"))
        assert answer.status_code == (404 if unknown else 400)
        for word in ("messages[", "response_format", ".function", "reasoning_effort"):
            assert word not in error["message"]
        assert running.trajectories() == []


async def test_an_unknown_and_a_foreign_response_are_the_same(serve: Serve) -> None:
    async with serve("One.", api_key="boss") as running:
        boss, url = running.client, f"{running.url}/v1"
        secrets = [await running.store.keys.create(ApiKey(name=name)) for name in ("ann", "bob")]
        async with (
            openai.AsyncOpenAI(base_url=url, api_key=secrets[0], max_retries=0) as ann,
            openai.AsyncOpenAI(base_url=url, api_key=secrets[1], max_retries=0) as bob,
        ):
            hers = await ann.responses.create(model="tiny", input="a")
            refusals = []
            for named in (hers.id, "resp_" + "0" * 32):
                going_on: Any = {"model": "tiny", "input": "b", "previous_response_id": named}
                for ask in (
                    bob.responses.retrieve(named),
                    bob.responses.delete(named),
                    bob.responses.create(**going_on),
                    boss.responses.create(**going_on),
                ):
                    with pytest.raises(openai.NotFoundError) as caught:
                        await ask
                    refusals.append(caught.value.message.replace(named, ""))

        assert refusals[:4] == refusals[4:]
        assert len(running.trajectories()) == 1


async def test_what_was_not_kept_can_not_be_gone_on_from_or_looked_up(serve: Serve) -> None:
    async with serve("One.") as running:
        responses = running.client.responses
        first = await responses.create(model="tiny", input="a", store=False)
        with pytest.raises(openai.BadRequestError, match="was not kept"):
            await responses.create(model="tiny", input="b", previous_response_id=first.id)
        with pytest.raises(openai.NotFoundError):
            await responses.retrieve(first.id)


async def test_a_call_of_the_answer_before_must_be_answered(serve: Serve) -> None:
    async with serve('Thought: t\nAction: lookup\nAction Input: {"key": "a"}') as running:
        asked: Any = {"model": "tiny", "tools": [{**LOOKUP, "parameters": {}}]}
        first = await running.client.responses.create(input="a", **asked)
        with pytest.raises(openai.BadRequestError, match="has no output") as caught:
            await running.client.responses.create(input="b", previous_response_id=first.id, **asked)

        assert caught.value.param == "previous_response_id"


async def test_one_of_several_choices_is_no_response(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        items: Any = [HI]
        both = await running.client.chat.completions.create(model="tiny", messages=items, n=2)
        with pytest.raises(openai.NotFoundError):
            await running.client.responses.retrieve(both.id.replace("chatcmpl-", "resp_"))


async def test_input_over_the_context_is_refused(serve: Serve) -> None:
    async with serve(context=64) as running:
        answer = await post(running, {"model": "tiny", "input": "x " * 99})

        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "input")


async def test_ten_thousand_items_are_read(serve: Serve) -> None:
    async with serve(context=64) as running:
        answer = await post(running, {"model": "tiny", "input": [HI] * 10_000})

        assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_an_engine_that_fails_leaves_a_failed_response(serve: Serve) -> None:
    async with serve(RuntimeError("on fire")) as running:
        answer = await post(running, {"model": "tiny", "input": "Hi"})
        [trajectory] = running.trajectories()
        named = trajectory.interactions[0].completion_id.replace("chatcmpl-", "resp_")
        found = await running.client.responses.retrieve(named)

        assert answer.status_code == 500
        assert (found.status, found.output) == ("failed", [])
        assert found.error is not None
        with pytest.raises(openai.BadRequestError, match="no whole answer"):
            await running.client.responses.create(
                model="tiny", input="b", previous_response_id=named
            )
