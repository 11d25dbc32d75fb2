"""Fields that servers of open models take beyond OpenAI's: they act, and are recorded."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from agentlm.trajectory import Origin, Outcome, Sampling
from support.serving import Running, Serve

FIELDS: dict[str, Any] = {
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "min_tokens": 2,
    "stop_token_ids": [7],
    "include_stop_str_in_output": True,
}
NULLS: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "description": None,
        "parameters": {"type": "object", "properties": None, "required": None},
    },
}


async def ask(running: Running, **fields: Any) -> Any:
    return await running.client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], **fields
    )


async def test_what_the_engine_can_do_reaches_it_and_is_recorded(serve: Serve) -> None:
    async with serve("Hello.") as running:
        await ask(running, extra_body=FIELDS)

        expected = Sampling(**{**FIELDS, "stop_token_ids": (7,)})
        assert running.engine.requests[0].sampling == expected
        sampled = [s for s in running.trajectories()[0].steps if s.origin is Origin.SAMPLED]
        assert sampled[0].sampling == expected


async def test_a_top_k_of_minus_one_is_all_tokens(serve: Serve) -> None:
    async with serve("Hello.") as running:
        await ask(running, extra_body={"top_k": -1})

        assert running.engine.requests[0].sampling.top_k == 0


@pytest.mark.parametrize(("keep", "answer"), [(True, "One, two"), (False, "One,")])
async def test_a_stop_string_is_kept_if_asked_for(serve: Serve, keep: bool, answer: str) -> None:
    async with serve("One, two, three.") as running:
        body = {"include_stop_str_in_output": keep}
        completion = await ask(running, stop=["two"], extra_body=body)

        assert completion.choices[0].message.content == answer


async def test_null_in_a_tool_is_read_as_absent(serve: Serve) -> None:
    async with serve("Thought: I know.\nFinal Answer: Done.") as running:
        await ask(running, tools=[NULLS])

        assert running.trajectories()[0].tools[0].parameters == {"type": "object"}


async def test_a_function_without_parameters_is_held_to_none(serve: Serve) -> None:
    async with serve("Thought: I know.\nFinal Answer: Done.") as running:
        await ask(running, tools=[{"type": "function", "function": {"name": "look"}}])

        constraint = running.engine.requests[0].constraint
        assert constraint is not None
        assert '"properties": {}, "additionalProperties": false' in str(constraint.structural_tag)


async def test_a_refusal_in_a_clients_history_keeps_its_text(serve: Serve) -> None:
    refused: Any = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I won't."}]}
    async with serve("Fine.") as running:
        await running.client.chat.completions.create(
            model="tiny",
            messages=[
                {"role": "user", "content": "Hi"},
                refused,
                {"role": "user", "content": "Why?"},
            ],
        )

        assert "I won't." in [step.text for step in running.trajectories()[0].steps]


CHOICES: dict[str, Any] = {
    "type": "or",
    "elements": [
        {"type": "const_string", "value": "yes"},
        {"type": "const_string", "value": "no"},
    ],
}


@pytest.mark.parametrize(
    ("held_to", "form"),
    [
        ({"choice": ["yes", "no"]}, CHOICES),
        ({"choice": ["yes"]}, {"type": "const_string", "value": "yes"}),
        ({"regex": "[ab]+"}, {"type": "regex", "pattern": "[ab]+"}),
        ({"grammar": 'root ::= "a"'}, {"type": "grammar", "grammar": 'root ::= "a"'}),
    ],
)
async def test_an_answer_can_be_held_to_any_form(
    serve: Serve, held_to: dict[str, Any], form: dict[str, Any]
) -> None:
    async with serve("yes", "Thought: I know.\nFinal Answer: yes") as running:
        await ask(running, extra_body={"structured_outputs": held_to})
        await ask(running, extra_body={"structured_outputs": held_to}, tools=[NULLS])

        plain, amid_tools = (request.constraint for request in running.engine.requests)
        assert plain is not None
        assert amid_tools is not None
        assert json.loads(str(plain.structural_tag))["format"] == form
        assert json.dumps(form) in str(amid_tools.structural_tag)


@pytest.mark.parametrize(
    "held_to", [{"json": {"type": "integer"}}, {"json": '{"type": "integer"}'}]
)
async def test_a_schema_is_the_same_by_either_name(serve: Serve, held_to: dict[str, Any]) -> None:
    async with serve("1") as running:
        await ask(running, extra_body={"structured_outputs": held_to})

        constraint = running.engine.requests[0].constraint
        assert constraint is not None
        assert json.loads(str(constraint.json_schema)) == {"type": "integer"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
        *(
            ({"structured_outputs": {"json": text}}, "structured_outputs.json")
            for text in (
                "[1]",
                "[" * 99_000,
                '{"a":' * 900 + "1" + "}" * 900,
                "[0" + ",[]" * 99_000,
            )
        ),
        (
            {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
            "structured_outputs",
        ),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        ({"return_token_ids": True, "tools": [{"type": "bash"}]}, "return_token_ids"),
    ],
)
async def test_what_can_not_be_is_named(serve: Serve, fields: dict[str, Any], param: str) -> None:
    async with serve("Hello.") as running:
        with pytest.raises(openai.BadRequestError) as caught:
            await ask(running, extra_body=fields)

        assert caught.value.param == param


@pytest.mark.parametrize("stream", [False, True])
async def test_the_ids_told_are_those_recorded(serve: Serve, stream: bool) -> None:
    async with serve("Hello.") as running:
        answer = await ask(running, extra_body={"return_token_ids": True}, stream=stream)
        if stream:
            last = [chunk async for chunk in answer][-1].choices[0]
            ids = [*last.prompt_token_ids, *last.token_ids]
        else:
            ids = [*answer.prompt_token_ids, *answer.choices[0].token_ids]

        assert ids == list(running.trajectories()[0].token_ids())


async def test_a_prompt_is_scored_as_vllm_tells_it(serve: Serve) -> None:
    async with serve("Hello.") as running:
        answer = await ask(running, extra_body={"prompt_logprobs": 1, "return_token_ids": True})

        first, *others = answer.prompt_logprobs
        assert first is None
        assert [list(each) for each in others] == [[str(i)] for i in answer.prompt_token_ids[1:]]
        assert {each["logprob"] for position in others for each in position.values()} == {-0.5}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


TOOLS: Any = [{"type": "function", "function": {"name": name}} for name in ("look", "act")]


async def test_only_allowed_tools_can_be_called(serve: Serve) -> None:
    async with serve("Action: look\nAction Input: {}") as running:
        await ask(running, tools=TOOLS, tool_choice=allowed("required", "look"))

        tag = str(running.engine.requests[0].constraint.structural_tag)  # type: ignore[union-attr]
        assert "Action: look" in tag
        assert "Action: act" not in tag
        assert "Final Answer" not in tag
        # The prompt still tells of all of them, so that what is cached of it stays good.
        assert "act" in running.trajectories()[0].steps[0].text


async def test_a_call_that_is_not_allowed_is_not_acted_on(serve: Serve) -> None:
    async with serve("Thought: I act.\nAction: act\nAction Input: {}") as running:
        answer = await ask(
            running,
            tools=TOOLS,
            tool_choice=allowed("auto", "look"),
            extra_body={"constrained": False},
        )

        assert answer.choices[0].message.tool_calls is None
        assert running.trajectories()[0].outcome is Outcome.INVALID


async def test_an_allowed_tool_must_be_there(serve: Serve) -> None:
    async with serve("Hello.") as running:
        with pytest.raises(openai.BadRequestError) as caught:
            await ask(running, tools=TOOLS, tool_choice=allowed("auto", "look", "fly"))

        assert caught.value.param == "tool_choice.allowed_tools.tools[1].function.name"
