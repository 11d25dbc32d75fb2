"""What is said over Responses, held strictly to the openai package's types."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from openai.types.responses.response_item_list import ResponseItemList
from pydantic import BaseModel, TypeAdapter

from agentlm.agent.tool import ToolContext
from agentlm.tools.web.search import Hit
from agentlm.tools.web.tools import WebSearch
from support.serving import Running, Serve

BASH: Any = {"type": "bash"}
LOOKUP: Any = {"type": "function", "name": "lookup", "parameters": {}, "strict": False}
BASH_CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FAILING_CALL = BASH_CALL.replace("ls", "fail")
CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
BEYOND_OPENAI = {"store", "presence_penalty", "frequency_penalty"}
"""What the Open Responses specification wants an answer to repeat, and OpenAI's type lacks."""
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def strictly(text: str | bytes) -> Response:
    """Read without any coercion."""
    return TypeAdapter(Response).validate_json(text, strict=True)


def added(value: Any) -> set[str]:
    """Names that stand in a shape beyond its type."""
    if isinstance(value, list):
        return set().union(*map(added, value))
    if not isinstance(value, BaseModel):
        return set()
    fields = (getattr(value, name) for name in value.model_fields_set)
    return set(value.model_extra or ()).union(*map(added, fields))


async def post(running: Running, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        body = {"model": "tiny", "input": "Hi", **fields}
        return await client.post(f"{running.url}/v1/responses", json=body)


async def test_a_response_is_openais_type(serve: Serve) -> None:
    async with serve("Hello.") as running:
        asked = {"metadata": {"a": "b"}, "instructions": "Be brief.", "max_output_tokens": 99}
        asked |= {"prompt_cache_key": "k", "safety_identifier": "s", "presence_penalty": 0.5}
        answer = strictly((await post(running, **asked)).content)

        assert added(answer) == BEYOND_OPENAI
        [message] = answer.output
        assert message.type == "message"
        assert (answer.status, answer.output_text, answer.error) == ("completed", "Hello.", None)
        assert (answer.metadata, answer.instructions) == ({"a": "b"}, "Be brief.")
        assert (answer.max_output_tokens, answer.incomplete_details) == (99, None)
        assert (answer.prompt_cache_key, answer.safety_identifier) == ("k", "s")
        assert (answer.model_extra or {})["presence_penalty"] == 0.5
        assert answer.usage is not None
        spent = answer.usage.input_tokens + answer.usage.output_tokens
        assert answer.usage.total_tokens == spent


async def test_items_come_in_the_order_in_which_they_were_said(serve: Serve) -> None:
    async with serve(BASH_CALL, FAILING_CALL, CALL) as running:
        answer = strictly((await post(running, tools=[BASH, LOOKUP])).content)

        assert added(answer) == BEYOND_OPENAI
        kinds = [item.type for item in answer.output]
        assert kinds == ["reasoning", "mcp_call"] * 2 + ["reasoning", "function_call"]
        _, ran, _, failed, thought, call = answer.output
        assert ran.type == failed.type == "mcp_call"
        assert (ran.server_label, ran.name, ran.output) == ("agentlm", "bash", "ran ls")
        assert (ran.status, ran.error, ran.arguments) == ("completed", None, '{"command": "ls"}')
        assert (failed.status, failed.output) == ("failed", None)
        assert "no such command" in str(failed.error)
        assert thought.type == "reasoning"
        assert thought.content is not None
        assert thought.content[0].text == "I ask."
        assert call.type == "function_call"
        assert (call.name, call.arguments) == ("lookup", '{"key": "a"}')
        assert len({item.id for item in answer.output}) == 6


async def test_what_was_answered_can_be_looked_up_and_deleted(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL, "Thought: t\nFinal Answer: More.") as running:
        responses = running.client.responses
        asked: Any = {"model": "tiny", "tools": [BASH], "tool_choice": "auto", "user": "me"}
        first = await responses.create(input="Hi", instructions="Be brief.", **asked)
        second = await responses.create(input="b", previous_response_id=first.id, **asked)

        assert await responses.retrieve(first.id) == first
        assert await responses.retrieve(second.id) == second
        await responses.delete(second.id)
        with pytest.raises(openai.NotFoundError):
            await responses.retrieve(second.id)
        assert await responses.retrieve(first.id) == first
        await responses.delete(first.id)
        assert running.trajectories() == []


async def test_input_items_are_the_conversation_before_the_answer(serve: Serve) -> None:
    async with serve(CALL, FINAL) as running:
        asked: Any = {"model": "tiny", "tools": [LOOKUP], "instructions": "Be brief."}
        items: Any = [{"role": "developer", "content": "Rules"}, {"role": "user", "content": "Hi"}]
        first = await running.client.responses.create(input=items, **asked)
        call = first.output[-1]
        assert call.type == "function_call"
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "42"}
        second = await running.client.responses.create(
            input=[result], previous_response_id=first.id, **asked
        )
        async with httpx.AsyncClient(base_url=running.url) as client:
            path = f"/v1/responses/{second.id}/input_items"
            raw = (await client.get(path, params={"order": "asc"})).content
        page = TypeAdapter(ResponseItemList).validate_json(raw, strict=True)

        assert [item.type for item in page.data] == [
            *("message", "message", "function_call", "function_call_output"),
        ]
        listed = running.client.responses.input_items.list(second.id, limit=1)
        assert [item.id async for item in listed] == [item.id for item in page.data[::-1]]


async def test_an_answer_that_was_cut_is_incomplete(serve: Serve) -> None:
    async with serve("A long answer that goes on.") as running:
        answer = strictly((await post(running, max_output_tokens=2)).content)

        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        [message] = answer.output
        assert message.type == "message"
        assert message.status == "incomplete"


async def test_an_answer_in_a_form_is_held_to_it(serve: Serve) -> None:
    async with serve('{"a": 1}') as running:
        form = {"type": "json_schema", "name": "it", "strict": True, "schema": SCHEMA}
        answer = strictly((await post(running, text={"format": form})).content)

        assert answer.output_text == '{"a": 1}'
        assert answer.text is not None
        assert answer.text.format is not None
        assert answer.text.format.type == "json_schema"
        constraint = running.engine.requests[0].constraint
        assert '"a"' in str(constraint)


async def test_log_probabilities_come_if_they_are_included(serve: Serve) -> None:
    async with serve("Hello.") as running:
        asked = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
        answer = strictly((await post(running, **asked)).content)

        [message] = answer.output
        assert message.type == "message"
        [part] = message.content
        assert part.type == "output_text"
        spelt = "".join(token.token for token in part.logprobs or ())
        assert spelt == "Hello."
        assert {len(token.top_logprobs) for token in part.logprobs or ()} == {2}
        assert answer.top_logprobs == 2


@pytest.mark.parametrize("choice", ["none", {"type": "function", "name": "lookup"}])
async def test_a_choice_of_tools_is_held_to(serve: Serve, choice: Any) -> None:
    async with serve("Hello." if choice == "none" else CALL) as running:
        answer = strictly((await post(running, tools=[LOOKUP], tool_choice=choice)).content)

        assert answer.output[-1].type == ("message" if choice == "none" else "function_call")
        assert answer.model_dump()["tool_choice"] == choice


async def test_only_allowed_tools_are_called(serve: Serve) -> None:
    async with serve(FINAL) as running:
        some = {"type": "function", "name": "lookup"}
        choice = {"type": "allowed_tools", "mode": "auto", "tools": [some]}
        answer = strictly((await post(running, tools=[BASH, LOOKUP], tool_choice=choice)).content)

        assert answer.output_text == "Done."
        constraint = str(running.engine.requests[0].constraint)
        assert "lookup" in constraint
        assert "bash" not in constraint


async def test_items_are_only_of_tools_that_were_declared(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        answer = strictly((await post(running, model="tiny:agent")).content)

        assert running.bash.calls == ["ls"]
        assert [item.type for item in answer.output] == ["reasoning", "reasoning", "message"]


async def test_a_key_runs_a_request_once(serve: Serve) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        create = running.client.responses.with_raw_response.create
        once: Any = {"extra_headers": {"Idempotency-Key": "order-7"}, "tools": [BASH]}
        first, second = [await create(model="tiny", input="Hi", **once) for _ in range(2)]

        assert first.parse() == second.parse()
        assert first.headers["x-trajectory-id"] == second.headers["x-trajectory-id"]
        assert running.bash.calls == ["ls"]


async def test_every_field_of_a_request_is_read_ignored_or_refused_by_name(serve: Serve) -> None:
    async with serve(*["Hello."] * 50) as running:
        refused = set()
        for name in ResponseCreateParamsBase.__annotations__:
            # Of no field's type; but a field that is known is not said to be unknown.
            answer = (await post(running, **{name: {}})).json()
            error = answer.get("error") or {"message": ""}
            assert "unknown parameter" not in error["message"]
            if "not supported" in error["message"]:
                refused.add(error["param"])

        assert refused == {
            *("access_programs", "background_options", "context_management"),
            *("image", "moderation", "prompt"),
        }


class Read:
    """Read a file."""

    name = "files__read"

    class Args(BaseModel):
        path: str

    async def run(self, args: Args, context: ToolContext) -> str:
        return f"read {args.path}"

    async def release(self, trajectory_id: str) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_a_tool_of_an_mcp_server_appears_under_its_label(serve: Serve) -> None:
    call = 'Thought: t\nAction: files__read\nAction Input: {"path": "a"}'
    async with serve(call, FINAL, families={"mcp": (Read(),)}) as running:
        answer = strictly((await post(running, tools=[{"type": "mcp"}])).content)

        ran = answer.output[1]
        assert ran.type == "mcp_call"
        assert (ran.server_label, ran.name, ran.output) == ("files", "read", "read a")


SEARCH = 'Thought: I search.\nAction: web_search\nAction Input: {"query": "cats"}'
SOURCES: Any = "web_search_call.action.sources"


class OneHit:
    """Finds the same page whatever is asked."""

    async def search(self, query: str, limit: int) -> list[Hit]:
        return [Hit("Cats", "https://cats.example/a?b", "Cats purr.")]

    async def close(self) -> None:
        pass


async def test_a_search_tells_its_sources_if_asked(serve: Serve) -> None:
    async with serve(*[SEARCH, FINAL] * 2, families={"web": (WebSearch(OneHit()),)}) as running:
        responses = running.client.responses
        asked: Any = {"model": "tiny", "input": "Hi", "tools": [{"type": "web_search"}]}
        included = await responses.create(include=[SOURCES], **asked)
        plain = await responses.create(**asked)
        found = await responses.retrieve(plain.id, include=[SOURCES])

        actions = [answer.output[1].to_dict()["action"] for answer in (included, found, plain)]
        search = {"type": "search", "query": "cats", "queries": ["cats"]}
        sources = {"sources": [{"type": "url", "url": "https://cats.example/a?b"}]}
        assert actions == [search | sources, search | sources, search]


@pytest.mark.parametrize("field", ["summary", "generate_summary"])
async def test_thoughts_are_their_own_summary(serve: Serve, field: str) -> None:
    async with serve(CALL) as running:
        asked = {"tools": [LOOKUP], "reasoning": {field: "auto"}}
        answer = strictly((await post(running, **asked)).content)
        found = await running.client.responses.retrieve(answer.id)

        thought = answer.output[0]
        assert thought.type == "reasoning"
        assert ([part.text for part in thought.summary], thought.content) == (["I ask."], [])
        assert found.output == answer.output
        assert answer.reasoning is not None
        assert answer.reasoning.summary == "auto"


async def test_no_more_calls_of_the_servers_tools_than_were_allowed(serve: Serve) -> None:
    async with serve(BASH_CALL, BASH_CALL.replace("ls", "pwd"), " Done.") as running:
        answer = strictly((await post(running, tools=[BASH], max_tool_calls=2)).content)

        assert running.bash.calls == ["ls", "pwd"]
        assert (answer.output_text, answer.status) == ("Done.", "completed")
        assert answer.max_tool_calls == 2


@pytest.mark.parametrize("parallel", [True, False])
async def test_one_call_is_made_a_turn_whether_or_not_more_are_allowed(
    serve: Serve, parallel: bool
) -> None:
    async with serve(CALL) as running:
        answer = strictly(
            (await post(running, tools=[LOOKUP], parallel_tool_calls=parallel)).content
        )

        assert [item.type for item in answer.output] == ["reasoning", "function_call"]
        assert answer.parallel_tool_calls is parallel


async def test_without_effort_nothing_is_thought(serve: Serve) -> None:
    async with serve("Final Answer: Done.") as running:
        await post(running, tools=[LOOKUP], reasoning={"effort": "none"})

        assert "Thought: " not in str(running.engine.requests[0].constraint)


@pytest.mark.parametrize(
    "query", ["include[]=a", "colour=red", "include[]=message.output_text.logprobs"]
)
async def test_what_a_look_up_can_not_do_is_refused_by_name(serve: Serve, query: str) -> None:
    async with serve("Hello.") as running, httpx.AsyncClient(base_url=running.url) as client:
        answer = await running.client.responses.create(model="tiny", input="Hi")
        for path in ("", "/input_items"):
            found = await client.get(f"/v1/responses/{answer.id}{path}?{query}")

            assert found.status_code == 400
            assert found.json()["error"]["param"] == query.partition("=")[0].removesuffix("[]")
