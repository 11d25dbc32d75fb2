"""Which tools a request names, and which of them it wants called."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from agentlm.store import ApiKey
from support.serving import Running, Search, Serve

HI = {"role": "user", "content": "Hi"}
BASH: Any = {"type": "bash"}
CONTAINER: Any = {"type": "shell", "environment": {"type": "container_auto"}}
LOOKUP: Any = {"type": "function", "name": "lookup", "parameters": {}, "strict": False}
FIND: Any = {**LOOKUP, "name": "find"}
CRM: Any = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [FIND]}
FIND_CALL = "Thought: I ask.\nAction: crm__find\nAction Input: {}"
BASH_CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FINAL = "Thought: I know.\nFinal Answer: Done."


@pytest.mark.parametrize(
    ("tool", "choice"),
    [
        (BASH, {"type": "bash"}),
        (BASH, {"type": "mcp", "server_label": "agentlm"}),
        (BASH, {"type": "mcp", "server_label": "agentlm", "name": "bash"}),
        (CONTAINER, {"type": "shell"}),
    ],
)
async def test_a_choice_of_the_servers_tools_forces_the_first_turn_alone(
    serve: Serve, tool: Any, choice: Any
) -> None:
    async with serve(BASH_CALL, FINAL) as running:
        ask: Any = {"model": "tiny", "input": "Hi", "tools": [tool, LOOKUP]}
        answer = await running.client.responses.create(tool_choice=choice, **ask)
        first, second = (str(asked.constraint) for asked in running.engine.requests)

    assert answer.output_text == "Done."
    assert ("bash" in first, "lookup" in first, "Final Answer" in first) == (True, False, False)
    assert "lookup" in second
    assert "Final Answer" in second


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "bash"},
        {"type": "mcp", "server_label": "elsewhere"},
        {"type": "mcp", "server_label": "agentlm", "name": "sql"},
        {"type": "web_search"},
        {"type": "shell"},
    ],
)
async def test_a_choice_of_what_is_not_among_the_tools_is_refused(
    serve: Serve, choice: Any
) -> None:
    async with serve() as running:
        tools = [LOOKUP] if choice["type"] == "bash" else [BASH]
        allowed = {"type": "allowed_tools", "mode": "auto", "tools": [choice]}
        for each, param in ((choice, "tool_choice"), (allowed, "tool_choice.tools[0]")):
            error = await refusal(running, tools=tools, tool_choice=each)
            assert error.param == param
            assert f"names {choice}, which is not among the tools" in error.body["message"]


@pytest.mark.parametrize("name", ["server_label", "name"])
async def test_what_means_nothing_in_a_choice_is_refused(serve: Serve, name: str) -> None:
    async with serve() as running:
        choice = {"type": "shell", name: "a"}
        error = await refusal(running, tools=[CONTAINER], tool_choice=choice)

        assert error.param == f"tool_choice.{name}"


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("web_search", "agentlm doctor --tools web"),
        ("web_search_preview", "agentlm doctor --tools web"),
        ("sql", "agentlm doctor --tools sql"),
        ("knowledge_graph", "agentlm doctor --tools knowledge_graph"),
        ("mcp", "--mcp-config"),
    ],
)
async def test_a_type_that_is_not_offered_is_called_as_it_was_written(
    serve: Serve, kind: str, remedy: str
) -> None:
    async with serve() as running:
        error = await refusal(running, tools=[LOOKUP, {"type": kind}])

    assert error.param == "tools[1].type"
    for words in (
        f"tools of type {kind!r} are not offered here",
        remedy,
        "offered: function, bash",
    ):
        assert words in error.body["message"]


async def test_files_are_named_by_the_tool_that_they_are_for(serve: Serve) -> None:
    search = {"type": "web_search", "file_ids": ["file-1"]}
    async with serve(families={"web": (Search(),)}) as running:
        error = await refusal(running, tools=[LOOKUP, search])
        unknown: Any = {"file_ids": ["file-00000000"], **BASH}
        with pytest.raises(openai.NotFoundError) as caught:
            await running.client.responses.create(model="tiny", input="Hi", tools=[unknown])

    assert error.param == "tools[1].file_ids"
    assert error.body["message"] == "bash takes files, web_search does not"
    assert caught.value.param == "tools[0].file_ids"


@pytest.mark.parametrize("tool", [BASH, CONTAINER])
async def test_a_type_that_the_key_may_not_use_is_called_as_it_was_written(
    serve: Serve, tool: Any
) -> None:
    async with serve(api_key="root") as running:
        secret = await running.store.keys.create(ApiKey(name="plain", tools=()))
        his = running.client.with_options(api_key=secret)
        with pytest.raises(openai.BadRequestError) as caught:
            await his.responses.create(model="tiny", input="Hi", tools=[tool])
        body = {"messages": [HI], "tools": [BASH]}
        with pytest.raises(openai.BadRequestError, match="'plain' may not use tools"):
            await his.post(f"{running.url}/tokenize", cast_to=object, body=body)

    message = f"the key 'plain' may not use tools of type {tool['type']!r}"
    assert message in caught.value.body["message"]
    assert caught.value.param == "tools[0].type"


async def refusal(running: Running, **fields: Any) -> Any:
    with pytest.raises(openai.BadRequestError) as caught:
        await running.client.responses.create(model="tiny", input="Hi", **fields)
    return caught.value


async def test_a_namespaces_function_is_called_by_both_names(serve: Serve) -> None:
    async with serve(FIND_CALL, FINAL, FIND_CALL) as running:
        responses = running.client.responses
        ask: Any = {"model": "tiny", "tools": [LOOKUP, CRM]}
        asked = await responses.create(input="Hi", **ask)
        call = asked.output[-1]
        assert call.type == "function_call"
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "Ann"}
        items: Any = [{"role": "user", "content": "Hi"}, *asked.output, result]
        answer = await responses.create(input=items, **ask)
        listed = await responses.input_items.list(answer.id, order="asc")
        async for event in await responses.create(input="Hi", stream=True, **ask):
            if event.type == "response.completed":
                whole = event.response

    assert (call.name, call.namespace) == ("find", "crm")
    assert [tool.type for tool in asked.tools] == ["function", "namespace"]
    assert answer.output_text == "Done."
    again = listed.data[1]
    assert again.type == "function_call"
    assert (again.name, again.namespace) == ("find", "crm")
    last = whole.output[-1]
    assert last.type == "function_call"
    assert (last.name, last.namespace) == ("find", "crm")
    assert len(running.trajectories()) == 2


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": [{"type": "custom", "name": "a"}]}, "tools[0].tools[0].type"),
        ({"tools": [BASH]}, "tools[0].tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].tools[0].name"),
        ({"tools": [{**FIND, "parameters": {"type": "string"}}]}, "tools[0].tools[0].parameters"),
        ({"name": None}, "tools[0].name"),
        ({"name": "a" * 60}, "tools[0].tools[0].name"),
    ],
)
async def test_a_wrong_namespace_is_named(serve: Serve, change: dict[str, Any], param: str) -> None:
    async with serve() as running:
        assert (await refusal(running, tools=[{**CRM, **change}])).param == param
