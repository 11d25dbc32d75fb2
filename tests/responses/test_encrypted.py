"""Clients that keep their conversation themselves go on from exactly the ids that were sampled."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from agentlm.store import ApiKey
from agentlm.trajectory import Origin
from support.serving import Running, Serve

BASH: Any = {"type": "bash"}
LOOKUP: Any = {"type": "function", "name": "lookup", "parameters": {}, "strict": False}
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
CLIENT_CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
LAST = "Thought: Bye.\nFinal Answer: Bye."
ENCRYPTED: Any = ["reasoning.encrypted_content"]
SECRET = "Zebras"


async def conversation(running: Running, *, kept: bool, streamed: bool = False) -> list[Any]:
    """Three turns by a client that sends all items again; returns them."""
    history: list[Any] = [{"role": "user", "content": SECRET}]
    for turn in ("result", "Thanks", None):
        asked: Any = {"model": "tiny", "input": history, "tools": [BASH, LOOKUP], "store": kept}
        asked |= {} if kept else {"include": ENCRYPTED}
        if streamed:
            async with running.client.responses.stream(**asked) as events:
                answer: Any = await events.get_final_response()
        else:
            answer = await running.client.responses.create(**asked)
        history = [*history, *(item.to_dict(mode="json") for item in answer.output)]
        calls = [item for item in answer.output if item.type == "function_call"]
        if calls:
            result = {"type": "function_call_output", "call_id": calls[0].call_id}
            history.append(result | {"output": turn})
        elif turn:
            history.append({"role": "user", "content": turn})
    return history


@pytest.mark.parametrize("template", ["chatml", "llama2"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_the_log_does_not_keep_goes_on_with_identical_ids(
    serve: Serve, template: Any, streamed: bool
) -> None:
    replies = [CALL, CLIENT_CALL, FINAL, LAST]
    async with serve(*replies, *replies, template=template) as running:
        await conversation(running, kept=True)
        history = await conversation(running, kept=False, streamed=streamed)
        prompts = [request.prompt_ids for request in running.engine.requests]
        [kept, *apart] = running.trajectories()

    assert prompts[:4] == prompts[4:]
    assert len(kept.interactions) == len(apart) == 3
    assert {step.text for trajectory in apart for step in trajectory.steps} == {""}
    sealed = [item["encrypted_content"] for item in history if item.get("encrypted_content")]
    assert len(sealed) == 3
    assert SECRET not in str([base64.urlsafe_b64decode(text) for text in sealed])
    # Each holds what is new only.
    assert len(sealed[2]) < 2 * len(sealed[0])


async def test_what_comes_back_is_not_learned_from_again(serve: Serve) -> None:
    async with serve(CALL, FINAL, LAST) as running:
        ask: Any = {"model": "tiny", "tools": [BASH]}
        first = await running.client.responses.create(
            input="Hi", store=False, include=ENCRYPTED, **ask
        )
        items = [item.to_dict(mode="json") for item in first.output]
        history: Any = [{"role": "user", "content": "Hi"}, *items, {"role": "user", "content": "b"}]
        second = await running.client.responses.create(input=history, **ask)
        trajectory = running.trajectories()[-1]
        found = await running.client.responses.retrieve(second.id)

    origins = [step.origin for step in trajectory.steps if step.role == "assistant"]
    assert origins == [Origin.IMPORTED, Origin.IMPORTED, Origin.SAMPLED]
    assert found.output == second.output
    assert [item.type for item in second.output] == ["reasoning", "message"]
    assert second.usage is not None
    assert second.usage.output_tokens == len(trajectory.steps[-1].token_ids or ())


async def test_a_plain_answer_is_handed_out_too_and_a_lost_one_renders_anew(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.") as running:
        ask: Any = {"model": "tiny", "store": False, "include": ENCRYPTED}
        history: list[Any] = []
        for text in ("a", "b"):
            history.append({"role": "user", "content": text})
            answer = await running.client.responses.create(input=history, **ask)
            assert [item.type for item in answer.output] == ["message", "reasoning"]
            history += [item.to_dict(mode="json") for item in answer.output]
        history.append({"role": "user", "content": "c"})
        lost = [item for item in history if item.get("type") != "reasoning"] + history[2:3]
        answer = await running.client.responses.create(input=lost, **ask)

    assert answer.output_text == "Three."


def changed(text: str) -> list[str]:
    middle = len(text) // 2
    other = "A" if text[middle] != "A" else "B"
    return [text[:middle] + other + text[middle + 1 :], text[:-8], text[8:], "", "é", "gAAAA"]


async def test_what_was_changed_or_is_anothers_is_refused(serve: Serve, tmp_path: Path) -> None:
    async with serve("One.", "Two.", api_key="boss") as running:
        url = f"{running.url}/v1"
        secrets = [await running.store.keys.create(ApiKey(name=name)) for name in ("ann", "bob")]
        async with openai.AsyncOpenAI(base_url=url, api_key=secrets[0], max_retries=0) as ann:
            ask: Any = {"model": "tiny", "store": False, "include": ENCRYPTED}
            answer = await ann.responses.create(input="a", **ask)
        [message, thought] = [item.to_dict(mode="json") for item in answer.output]
        text = str(thought["encrypted_content"])
        tries = [(secrets[1], text), *((secrets[0], other) for other in changed(text))]
        async with httpx.AsyncClient() as client:
            for secret, other in tries:
                history = [{"role": "user", "content": "a"}, message]
                history += [
                    {**thought, "encrypted_content": other},
                    {"role": "user", "content": "b"},
                ]
                refused = await client.post(
                    f"{url}/responses",
                    json={"model": "tiny", "input": history},
                    headers={"authorization": f"Bearer {secret}"},
                )
                error = refused.json()["error"]
                assert (refused.status_code, error["param"]) == (400, "input[2].encrypted_content")
                assert other == "" or other not in json.dumps(error)

    assert (tmp_path / "sealing.key").stat().st_mode & 0o777 == 0o600
