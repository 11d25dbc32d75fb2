"""What a model is trained to say with tools is what its server asks it for: a thought, or none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agentlm.finetune.card import successor_card
from agentlm.finetune.data.prepare import Prepared, prepare
from agentlm.finetune.settings import FinetuneSettings
from agentlm.messages import Message, ToolSpec
from agentlm.models.registry import Registry
from agentlm.prompt.preamble import describe
from agentlm.server.conversation.beginning import render
from agentlm.server.models.engine_model import load_renderer
from support.finetune_logs import ANSWER, conversation, registered, renderer, trajectory, write_log
from support.serving import Serve

FUNCTION = {"name": "bash", "description": "Run it.", "parameters": {"type": "object"}}
TOOL = ToolSpec.model_validate(FUNCTION)


def row(thought: str | None) -> dict[str, Any]:
    call = {"function": {"name": "bash", "arguments": {"command": "ls"}}}
    return {
        "messages": [
            {"role": "user", "content": "Files?"},
            {"role": "assistant", "reasoning_content": thought, "tool_calls": [call]},
            {"role": "tool", "content": "a b"},
            {"role": "assistant", "content": "Two.", "reasoning_content": thought},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
    }


def run(data_dir: Path, *thoughts: str | None, **settings: Any) -> Prepared:
    rows = data_dir / "rows.jsonl"
    rows.write_text("".join(json.dumps(row(thought)) + "\n" for thought in thoughts))
    plain: dict[str, Any] = {"data_dir": data_dir, "data": (str(rows),), "base": "tiny"}
    return prepare(FinetuneSettings(**(plain | settings)))


@pytest.mark.parametrize(("thoughts", "out_of_form"), [(True, 2), (False, 1)])
def test_rows_that_are_not_in_the_form_that_is_served_are_counted(
    tmp_path: Path, chatml_llama: Path, thoughts: bool, out_of_form: int
) -> None:
    registered(tmp_path, chatml_llama)

    found = run(tmp_path, None, "I count.", None, thoughts=thoughts).run.read("selection.json")

    assert found["agent"]["out_of_form"] == out_of_form
    assert f"{out_of_form} of them are not in the form that is served" in found["agent"]["summary"]


def test_thoughts_that_are_not_learnt_are_counted(tmp_path: Path, chatml_llama: Path) -> None:
    registered(tmp_path, chatml_llama)
    plain = row("I count.")
    plain = {"messages": [plain["messages"][0], plain["messages"][3]]}
    in_text = {"messages": [plain["messages"][0], {"role": "assistant", "content": ANSWER}]}
    rows = tmp_path / "thinking.jsonl"
    rows.write_text(f"{json.dumps(plain)}\n{json.dumps(in_text)}\n")

    found = run(tmp_path, data=(str(rows),)).run.read("selection.json")["agent"]

    assert (found["kept"], found["out_of_form"]) == (2, 1)


def test_a_run_without_thoughts_makes_a_model_that_is_served_without(
    tmp_path: Path, chatml_llama: Path
) -> None:
    registered(tmp_path, chatml_llama)
    prepared = run(tmp_path, None, thoughts=False, name="quiet")
    again = run(tmp_path, None, thoughts=False, name="quiet")
    shutil.copytree(chatml_llama, prepared.run.model)
    prepared.run.add_metrics({"step": 0, "loss": 1.0, "trained_tokens": 9})

    registry = Registry(tmp_path)
    files = registry.resolve(registry.add(successor_card(prepared)))
    served = load_renderer(files)

    assert "of them" not in prepared.run.read("selection.json")["agent"]["summary"]
    assert not again.base.card.thoughts
    assert served.digest == prepared.renderer().digest == files.card.tokenizer_digest
    ids, loss = prepared.sources()[0].rows.row(0)
    preamble = describe([TOOL], thoughts=served.thoughts)
    prompt = render(served, [Message(role="user", content="Files?")], preamble)
    prompt_ids = [token for step in prompt for token in step.token_ids or ()]
    assert ids[: len(prompt_ids)].tolist() == prompt_ids
    assert loss[: len(prompt_ids) + 1].tolist() == [0] * len(prompt_ids) + [1]
    assert "Thought" not in served.decode(ids.tolist())


def test_what_was_said_with_thoughts_is_not_reused_by_a_run_without(
    tmp_path: Path, chatml_llama: Path
) -> None:
    registered(tmp_path, chatml_llama)
    steps = conversation(renderer(chatml_llama), "How many?", ANSWER)
    write_log(tmp_path, [trajectory(steps)])

    prepared = run(tmp_path, None, from_logs=True, thoughts=False)

    dropped = prepared.run.read("selection.json")["agent"]["dropped"]
    assert dropped == {"template_mismatch": 1}


async def test_a_server_asks_for_thoughts_only_where_the_card_has_them(serve: Serve) -> None:
    async with serve("Final Answer: Two.") as running:
        running.served.renderer.thoughts = False
        tools: Any = [{"type": "function", "function": FUNCTION}]
        answer = await running.client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Files?"}], tools=tools
        )

        assert answer.choices[0].message.content == "Two."
        [recorded] = running.trajectories()
        assert describe([TOOL], thoughts=False) in recorded.steps[0].text
        constraint = running.engine.requests[0].constraint
        assert "Thought" not in json.dumps(constraint.structural_tag)
