"""A corrected answer is a row in which the correction is what the model learns to say."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

from agentlm.finetune.data.demonstrations import demonstrations
from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.data.rows import RowMaker, loss_steps
from agentlm.finetune.data.selection import open_log
from agentlm.finetune.filters.rewards import step_rewards
from agentlm.finetune.settings import FinetuneSettings, Selecting
from agentlm.messages import ToolSpec
from agentlm.prompt.observation import observe
from agentlm.store import Store
from agentlm.trajectory import Feedback, Trajectory
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    interaction,
    registered,
    renderer,
    trajectory,
    write_log,
)
from support.tiny import tiny_renderer

RENDERER = tiny_renderer()
BASH = ToolSpec(name="bash", description="Run it.", parameters={}, owner="server")


def agent_run(*feedback: Feedback, **fields: Any) -> Trajectory:
    steps = conversation(RENDERER, "How many?", CALL, ANSWER)
    return trajectory(steps, tools=(BASH,), reward=None, feedback=feedback, **fields)


def learned(one: Trajectory) -> str:
    """What a model trained on it learns to say."""
    row: Any = RowMaker(RENDERER, 4096).row(one, loss_steps(one, 0.9))
    ids = [token for token, loss in zip(row.ids, row.loss, strict=True) if loss]
    return RENDERER.decode_verbatim(ids)


def test_a_corrected_answer_is_learned_in_the_form_of_a_turn() -> None:
    [demonstration] = demonstrations(agent_run(Feedback(author="ann", correction="13 programs.")))
    corrected = "Thought: I have the number.\nFinal Answer: 13 programs.<|im_end|>"
    assert learned(demonstration) == corrected
    assert [step.text for step in demonstration.steps[:-1]][-1] == observe("12")


def test_a_corrected_step_ends_its_row() -> None:
    better = 'Thought: Only those with z.\nAction: bash\nAction Input: {"command": "ls z*"}'
    [demonstration] = demonstrations(agent_run(Feedback(author="ann", step=2, correction=better)))
    assert learned(demonstration) == better + "<|im_end|>"
    assert len(demonstration.steps) == 3


def test_a_corrected_answer_of_plain_chat_is_learned_as_it_is() -> None:
    steps = conversation(RENDERER, "Hi", "Go away.")
    rude = trajectory(steps, feedback=(Feedback(author="ann", correction="Hello!"),))
    [demonstration] = demonstrations(rude)
    assert learned(demonstration) == "Hello!<|im_end|>"
    assert loss_steps(rude, 0.0) == [False] * 3


def test_the_latest_correction_of_the_answer_that_was_judged_counts() -> None:
    steps = conversation(RENDERER, "Hi", "Go away.", "Bye.", observed="And now?")
    first = Feedback(author="ann", completion_id="c1", correction="Hm.", created=2)
    second = Feedback(author="ann", completion_id="c1", correction="Hello!", created=1)
    plain = trajectory(steps, reward=1.0, feedback=(first, second))
    spans = (interaction(plain, 0, 3, "c1"), interaction(plain, 3, 5, "c2"))
    plain = plain.model_copy(update={"interactions": spans})
    [demonstration] = demonstrations(plain)
    assert demonstration.steps[-1].text == "Hello!"
    assert len(demonstration.steps) == 3
    assert loss_steps(plain, 0.9) == [False, False, False, False, True]


def test_a_judged_step_has_a_reward_of_its_own() -> None:
    bad = Feedback(author="ann", step=2, value=False)
    good = Feedback(author="ann", value=True)
    judged = agent_run(good, bad).model_copy(update={"reward": 0.5})
    assert step_rewards(judged) == [1.0, 1.0, 0.0, 1.0, 1.0]


def test_what_was_only_corrected_is_selected(tmp_path: Path) -> None:
    steps = conversation(RENDERER, "Hi", "Go away.")
    rude, unjudged = trajectory(steps, reward=None), trajectory(steps, reward=None)
    url = write_log(tmp_path, [rude, unjudged])
    better = Feedback(author="ann", correction="Hello!")
    with closing(Store.open(url)) as store:
        asyncio.run(store.add_feedback(better, trajectory_id=rude.id, admin=True))

    with open_log(url, Selecting()) as log:
        found = list(log.rewarded())
        assert [(one.id, one.reward) for one in found] == [(rude.id, 1.0), (rude.id, None)]
        assert log.drops.counts["no_reward"] == 1


def test_a_correction_alone_is_enough_to_train_on(tmp_path: Path, chatml_llama: Path) -> None:
    registered(tmp_path, chatml_llama)
    steps = conversation(renderer(chatml_llama), "Hi", "Go away.")
    rude = trajectory(steps, source="chat", reward=None)
    better = Feedback(author="ann", correction="Hello!")
    with closing(Store.open(write_log(tmp_path, [rude]))) as store:
        asyncio.run(store.add_feedback(better, trajectory_id=rude.id, admin=True))

    prepared = prepare(FinetuneSettings(data_dir=tmp_path, from_logs=True))

    [source] = prepared.sources()
    assert list(source.rows.names()) == [rude.id]
    ids, loss = source.rows.row(0)
    learned = prepared.renderer().decode_verbatim(ids[loss.astype(bool)].tolist())
    assert learned == "Hello!<|im_end|>"
    found = prepared.run.read("selection.json")["agent"]
    assert (found["rows"], found["kept"], found["dropped"]) == (2, 1, {"low_reward": 1})
