"""Fields that servers of open models take beyond OpenAI's: they act, and are recorded."""

from __future__ import annotations

from typing import Any

import pytest

from agentlm.trajectory import Origin, Sampling
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
        said = [s for s in running.trajectories()[0].steps if s.origin is Origin.SAMPLED]
        assert said[0].sampling == expected


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
