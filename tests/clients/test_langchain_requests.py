"""What ChatAgentLM sends."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, ValidationError

from agentlm.clients.langchain import ChatAgentLM
from support.chatting import BASH, CALL, chat, lookup
from support.serving import Running, Serve


async def test_every_setting_reaches_the_engine(serve: Serve) -> None:
    async with serve("Hello.", "Hello.") as running:
        model = chat(
            running, temperature=0.5, max_tokens=7, stop=["x"], model_kwargs={"top_p": 0.9}
        )
        await model.ainvoke("Hi")
        await model.ainvoke("Hi", stop=["y"], temperature=0.1, seed=4, timeout=60)

        first, second = (request.sampling for request in running.engine.requests)
        sent = {"temperature", "max_tokens", "stop", "top_p", "seed"}
        assert first.model_dump(include=sent) == {
            "temperature": 0.5,
            "max_tokens": 7,
            "stop": ("x",),
            "top_p": 0.9,
            "seed": None,
        }
        assert (second.stop, second.temperature, second.seed) == (("y",), 0.1, 4)


async def test_text_in_blocks_is_joined_and_thoughts_stay_home(serve: Serve) -> None:
    async with serve("Hello.") as running:
        blocks: list[str | dict[Any, Any]] = [
            {"type": "text", "text": "One, ", "cache_control": {"type": "ephemeral"}},
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            "two.",
        ]
        await chat(running).ainvoke([HumanMessage(blocks)])

        [trajectory] = running.trajectories()
        assert [m.content for m in trajectory.interactions[0].messages] == ["One, two."]


async def test_results_within_a_users_message_are_the_tools(serve: Serve) -> None:
    async with serve("Hello.") as running:
        call = {"name": "lookup", "args": {"key": "a"}, "id": "call_1", "type": "tool_call"}
        broken = {"name": "lookup", "args": "{", "id": "call_2", "error": "no JSON"}
        results = [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "1"},
            {"type": "tool_result", "tool_use_id": "call_2", "content": "2"},
        ]
        history = [
            HumanMessage("Hi"),
            AIMessage("", tool_calls=[call], invalid_tool_calls=[broken]),
            HumanMessage(results),  # type: ignore[arg-type]
        ]
        await chat(running).bind_tools([lookup]).ainvoke(history)

        [trajectory] = running.trajectories()
        messages = trajectory.interactions[0].messages
        assert [m.tool_call_id for m in messages] == [None, None, "call_1", "call_2"]
        assert [c.arguments for c in messages[1].tool_calls] == ['{"key": "a"}', "{"]


class Verdict(BaseModel):
    """What was found."""

    files: int


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_object_can_be_the_answer_of_a_run_with_tools(
    serve: Serve, streamed: bool
) -> None:
    async with serve(CALL, 'Thought: I know.\nFinal Answer: {"files": 3}') as running:
        model = chat(running).with_structured_output(Verdict, tools=[BASH])
        found = [each async for each in model.astream("Hi")] if streamed else [model.ainvoke("Hi")]
        last = found[-1] if streamed else await found[-1]

        assert last == Verdict(files=3)
        assert running.bash.calls == ["ls"]


async def test_an_answer_that_is_no_such_object_is_told_beside_it(serve: Serve) -> None:
    async with serve("no JSON") as running:
        model = chat(running).with_structured_output(Verdict, include_raw=True)
        answer = await model.ainvoke("Hi")

        assert answer["raw"].text == "no JSON"
        assert answer["parsed"] is None
        assert "no JSON" in str(answer["parsing_error"])


def test_a_method_or_setting_that_is_none_is_refused() -> None:
    model = ChatAgentLM(model="tiny")

    with pytest.raises(ValueError, match="unknown method 'magic'"):
        model.with_structured_output(Verdict, method="magic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tools need method 'json_schema'"):
        model.with_structured_output(Verdict, method="function_calling", tools=[BASH])
    with pytest.raises(ValidationError, match="temprature"):
        ChatAgentLM(model="tiny", temprature=0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        (False, None),
        (True, "required"),
        ("any", "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("lookup", {"type": "function", "function": {"name": "lookup"}}),
    ],
)
def test_a_choice_of_tool_is_sent_in_openais_words(choice: Any, sent: Any) -> None:
    bound: Any = ChatAgentLM(model="tiny").bind_tools([lookup, BASH], tool_choice=choice)

    assert bound.kwargs.get("tool_choice") == sent
    assert [t["type"] for t in bound.kwargs["tools"]] == ["function", "bash"]


def test_tokens_are_counted_as_the_server_counts_them(server: Running) -> None:
    model = chat(server)
    history: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage("Hi")]

    for tools in ([], [lookup]):
        answer = model.bind_tools(tools).invoke(history)
        assert answer.usage_metadata is not None
        counted = model.get_num_tokens_from_messages(history, tools)
        assert counted == answer.usage_metadata["input_tokens"]
    assert model.get_num_tokens("Hi there") == len(model.get_token_ids("Hi there")) > 0
