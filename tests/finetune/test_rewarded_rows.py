"""Which runs of the log can be learned from by their rewards, what each is worth, and why not."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentlm.errors import NotFoundError, OperatorError
from agentlm.finetune import command
from agentlm.finetune import main as finetune_main
from agentlm.finetune.data.prepare import Prepared, prepare
from agentlm.finetune.settings import FinetuneSettings
from agentlm.messages import ToolSpec
from agentlm.models.registry import Registry
from agentlm.prompt.render import Renderer
from agentlm.trajectory import Feedback, Origin, Outcome, Sampling, Step, Trajectory
from support.finetune_logs import ANSWER, CALL, conversation, interaction, trajectory, write_log

WRONG = "Thought: I have the number.\nFinal Answer: 9 programs start with z."
MALFORMED = "Action: bash Action Input: ls"
PLAIN = Sampling(temperature=1.0, max_tokens=512)


def run(data_dir: Path, method: str = "grpo", **settings: Any) -> Prepared:
    return prepare(
        FinetuneSettings(data_dir=data_dir, from_logs=True, base="tiny", method=method, **settings)
    )


def version(data_dir: Path, name: str = "tiny") -> str:
    return Registry(data_dir).get(name).weights_version or ""


def tried(
    data_dir: Path, by: Renderer, *turns: str, reward: float | None, **fields: Any
) -> Trajectory:
    """One try at a task as our server records it: unconstrained, at temperature 1."""
    steps = conversation(by, "How many?", *turns)
    return trajectory(
        recorded(steps, version(data_dir)),
        reward=reward,
        **({"environment": "db", "task_id": "t1", "source": "rollout"} | fields),
    )


def recorded(steps: Sequence[Step], weights: str, **fields: Any) -> tuple[Step, ...]:
    """The steps, with all that is recorded of what was sampled."""
    known = {"sampling": PLAIN, "weights_version": weights} | fields
    return tuple(
        step.model_copy(update={"logprobs": tuple(-0.5 for _ in step.token_ids or ()), **known})
        if step.origin is Origin.SAMPLED
        else step
        for step in steps
    )


def resampled(one: Trajectory, **fields: Any) -> Trajectory:
    """The same try, sampled in another way."""
    steps = [
        step.model_copy(update=fields) if step.origin is Origin.SAMPLED else step
        for step in one.steps
    ]
    return one.model_copy(update={"steps": tuple(steps)})


def credits(prepared: Prepared) -> list[list[float]]:
    """For each row the credit of each of its trained tokens, rounded."""
    [source] = prepared.sources()
    rows = [source.rows.token_row(index) for index in range(len(source.rows))]
    return [np.round(row.credit[row.loss > 0].astype(float), 6).tolist() for row in rows]


def dropped(prepared: Prepared) -> dict[str, int]:
    found: dict[str, int] = prepared.run.read("selection.json")["agent"]["dropped"]
    return found


def reasons(prepared: Prepared) -> list[str]:
    examples = prepared.run.read("selection.json")["agent"]["examples"]
    return [one["reason"] for found in examples.values() for one in found]


# -- groups --------------------------------------------------------------------------------------


def test_a_try_is_worth_what_it_is_better_than_the_mean_of_its_group(
    data_dir: Path, by: Renderer
) -> None:
    tries = [
        tried(data_dir, by, CALL, ANSWER, reward=1.0),
        tried(data_dir, by, CALL, WRONG, reward=0.0),
        tried(data_dir, by, WRONG, reward=0.0),
        tried(data_dir, by, ANSWER, reward=1.0),
    ]
    write_log(data_dir, tries)

    prepared = run(data_dir)

    assert [set(row) for row in credits(prepared)] == [{0.5}, {-0.5}, {-0.5}, {0.5}]
    [source] = prepared.sources()
    row = source.rows.token_row(0)
    assert set(row.recorded[row.loss > 0]) == {-0.5}
    assert prepared.plan().ends.tolist() == [4, 8, 12]
    rewards = prepared.run.read("rewards.json")
    assert rewards == {
        "method": "grpo",
        "units": 1,
        "rows": 4,
        "mean_reward": 0.5,
        "rows_by_age": {"0": 4},
    }


def test_a_malformed_turn_and_a_refused_call_carry_the_loss_of_their_try(
    data_dir: Path, by: Renderer
) -> None:
    bad = tried(data_dir, by, CALL, MALFORMED, reward=0.0, outcome=Outcome.INVALID)
    steps = [
        step.model_copy(update={"failed": True})
        if step.tool_call_id
        else step.model_copy(update={"error": "no argument"})
        if step.text == MALFORMED
        else step
        for step in bad.steps
    ]
    bad = bad.model_copy(update={"steps": tuple(steps)})
    write_log(data_dir, [tried(data_dir, by, ANSWER, reward=1.0), bad])

    prepared = run(data_dir)

    sampled = sum(len(step.token_ids or ()) for step in bad.steps if step.origin is Origin.SAMPLED)
    assert [len(row) for row in credits(prepared)][1] == sampled
    assert set(credits(prepared)[1]) == {-0.5}


def test_forced_tokens_and_what_tools_said_have_no_loss(data_dir: Path, by: Renderer) -> None:
    forced = Step(
        role="assistant",
        origin=Origin.FORCED,
        text="Final Answer:",
        token_ids=tuple(by.content.encode("Final Answer:")),
        tokenizer_digest=by.digest,
    )
    one = tried(data_dir, by, CALL, WRONG, reward=0.0)
    one = one.model_copy(update={"steps": (*one.steps[:-1], forced, one.steps[-1])})
    write_log(data_dir, [one, tried(data_dir, by, ANSWER, reward=1.0)])

    [source] = run(data_dir).sources()
    row = source.rows.token_row(0)

    marks = [
        np.full(len(step.token_ids or ()), step.origin is Origin.SAMPLED) for step in one.steps
    ]
    assert row.loss.tolist() == np.concatenate(marks)[: len(row.loss)].tolist()


def test_what_forks_share_is_learned_once_with_their_mean(data_dir: Path, by: Renderer) -> None:
    parent = tried(data_dir, by, CALL, ANSWER, reward=1.0)
    other = tried(data_dir, by, CALL, WRONG, reward=0.0)
    there = next(i for i, step in enumerate(parent.steps) if step.tool_call_id)
    fork = other.model_copy(
        update={
            "steps": (*parent.steps[:there], *other.steps[there:]),
            "parent_id": parent.id,
            "parent_step": there,
        }
    )
    third = tried(data_dir, by, CALL, "Thought: Hm.\nFinal Answer: 1.", reward=0.0)
    write_log(data_dir, [parent, fork, third])

    found = credits(run(data_dir))

    call = len(parent.steps[there - 1].token_ids or ())
    third_ = round(1 / 3, 6)
    assert [set(row[:call]) for row in found] == [{third_}, {-round(1 / 6, 6)}, {-third_}]
    assert [set(row[call:]) for row in found] == [{round(2 / 3, 6)}, {-third_}, {-third_}]
    assert found[0][0] + found[1][0] == pytest.approx((2 / 3 - 1 / 3) / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sampling": Sampling(temperature=0.7)}, "temperature was 0.7"),
        ({"sampling": Sampling(temperature=0.0)}, "temperature was 0.0"),
        ({"sampling": Sampling(top_p=0.9)}, "top_p was 0.9"),
        ({"sampling": Sampling(top_k=40)}, "top_k was 40"),
        ({"sampling": Sampling(min_p=0.1)}, "min_p was 0.1"),
        ({"sampling": Sampling(frequency_penalty=0.5)}, "frequency_penalty was 0.5"),
        ({"sampling": Sampling(presence_penalty=0.5)}, "presence_penalty was 0.5"),
        ({"sampling": Sampling(repetition_penalty=1.1)}, "repetition_penalty was 1.1"),
        ({"sampling": Sampling(logit_bias={5: 1.0})}, "logit_bias was {5: 1.0}"),
        ({"sampling": Sampling(min_tokens=4)}, "min_tokens was 4"),
        ({"sampling": None}, "how it was sampled was not recorded"),
        ({"constraint_digest": "c"}, "decoding was constrained"),
        ({"logprobs": None}, "it has no log-probabilities"),
        ({"weights_version": None}, "weights None said it"),
        ({"weights_version": "other"}, "weights other said it"),
        ({"tokenizer_digest": "other"}, "another tokenizer"),
    ],
)
def test_a_try_whose_ratios_would_be_wrong_is_left_out_and_counted(
    data_dir: Path, by: Renderer, changes: dict[str, Any], reason: str
) -> None:
    good = [tried(data_dir, by, ANSWER, reward=1.0), tried(data_dir, by, WRONG, reward=0.0)]
    other = resampled(tried(data_dir, by, CALL, WRONG, reward=0.0), **changes)
    write_log(data_dir, [*good, other])

    prepared = run(data_dir)

    assert len(credits(prepared)) == 2
    assert sum(dropped(prepared).values()) == 1
    assert any(reason in found for found in reasons(prepared)), reasons(prepared)


def test_groups_of_one_and_of_equal_rewards_are_left_out_and_counted(
    data_dir: Path, by: Renderer
) -> None:
    write_log(
        data_dir,
        [
            tried(data_dir, by, ANSWER, reward=1.0),
            tried(data_dir, by, WRONG, reward=0.0),
            tried(data_dir, by, ANSWER, reward=1.0, task_id="t2"),
            tried(data_dir, by, CALL, ANSWER, reward=1.0, task_id="t2"),
            tried(data_dir, by, ANSWER, reward=1.0, task_id="t3"),
            tried(data_dir, by, ANSWER, reward=None, task_id="t1"),
        ],
    )

    prepared = run(data_dir)

    assert len(credits(prepared)) == 2
    assert dropped(prepared) == {"no_reward": 1, "lonely": 1, "equal_rewards": 2}


def test_tries_that_leave_nothing_to_train_on_are_a_no_and_no_fault(
    data_dir: Path,
    by: Renderer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, by which a program tells it from a command that it has to correct."""
    monkeypatch.setattr(command, "restart_with_tcmalloc", lambda _: None)
    monkeypatch.setattr(finetune_main, "run", lambda settings: prepare(settings) and 0)
    words = ["--from-logs", "--base", "tiny", "--method", "grpo", "--data-dir", str(data_dir)]
    write_log(data_dir, [tried(data_dir, by, answer, reward=0.0) for answer in (ANSWER, WRONG)])

    assert command.main(words) == 1
    assert "nothing is left to train on: 2 rows; left out: equal" in capsys.readouterr().err
    with pytest.raises(NotFoundError, match="unknown model"):
        command.main([*words, "--base", "giant"])


def test_the_mean_itself_teaches_nothing(data_dir: Path, by: Renderer) -> None:
    rewards = {ANSWER: 1.0, WRONG: 0.0, "Final Answer: twelve": 0.5}
    write_log(data_dir, [tried(data_dir, by, answer, reward=r) for answer, r in rewards.items()])

    prepared = run(data_dir)

    assert len(credits(prepared)) == 2
    assert dropped(prepared) == {"average": 1}


@pytest.mark.parametrize("differ", ["tools", "prompt", "sampling", "task"])
def test_only_what_was_asked_alike_is_one_group(data_dir: Path, by: Renderer, differ: str) -> None:
    good, bad = (
        tried(data_dir, by, answer, reward=reward)
        for answer, reward in ((ANSWER, 1.0), (WRONG, 0.0))
    )
    other = bad.model_copy(update={"id": "traj_other"})
    match differ:
        case "tools":
            tool = ToolSpec(name="x", description="y", parameters={"type": "object"})
            other = other.model_copy(update={"tools": (tool,)})
        case "prompt":
            steps = recorded(conversation(by, "How much?", WRONG), version(data_dir))
            other = other.model_copy(update={"steps": steps})
        case "sampling":
            other = resampled(other, sampling=Sampling(temperature=1.0, stop=("x",)))
        case "task":
            other = other.model_copy(update={"task_id": "t9"})
    write_log(data_dir, [good, bad, other])

    prepared = run(data_dir)

    assert len(credits(prepared)) == 2
    assert dropped(prepared) == {"lonely": 1}


def test_a_try_that_is_too_long_is_left_out_whole(data_dir: Path, by: Renderer) -> None:
    long = tried(data_dir, by, CALL, *[CALL] * 6, WRONG, reward=0.0)
    write_log(
        data_dir,
        [
            long,
            tried(data_dir, by, ANSWER, reward=1.0),
            tried(data_dir, by, WRONG, reward=0.0),
        ],
    )

    prepared = run(data_dir, max_length=300)

    assert len(credits(prepared)) == 2
    assert dropped(prepared) == {"too_long": 1}


def test_rows_of_earlier_weights_of_the_line_are_taken_up_to_a_bound(
    data_dir: Path, by: Renderer, chatml_llama: Path
) -> None:
    now = version(data_dir)
    card = Registry(data_dir).get("tiny")
    child = card.model_copy(
        update={"name": "child", "parent": "tiny", "training": {"parent_weights": "older"}}
    )
    Registry(data_dir).add(child)
    tries = [tried(data_dir, by, ANSWER, reward=1.0), tried(data_dir, by, WRONG, reward=0.0)]
    old = [resampled(one, weights_version="older") for one in tries]
    old = [one.model_copy(update={"id": f"traj_{i}", "task_id": "t2"}) for i, one in enumerate(old)]
    write_log(data_dir, [*tries, *old])
    settings = FinetuneSettings(data_dir=data_dir, from_logs=True, base="child", method="grpo")

    stale = prepare(settings)
    fresh = prepare(settings.model_copy(update={"max_staleness": 0}))

    assert now
    assert stale.run.read("rewards.json")["rows_by_age"] == {"0": 2, "1": 2}
    assert fresh.run.read("rewards.json")["rows_by_age"] == {"0": 2}
    assert dropped(fresh) == {"stale": 2}


# -- files ---------------------------------------------------------------------------------------


def record(one: Trajectory, **changes: Any) -> str:
    return json.dumps(one.model_dump(mode="json") | changes)


def test_rewards_that_are_none_and_imported_rows_are_left_out_and_counted(
    data_dir: Path, by: Renderer, tmp_path: Path
) -> None:
    good, bad = (
        tried(data_dir, by, answer, reward=reward)
        for answer, reward in ((ANSWER, 1.0), (WRONG, 0.0))
    )
    lines = [
        record(good),
        record(bad),
        record(bad, reward=1.5),
        record(bad, reward=-1),
        record(bad).replace('"reward": 0.0', '"reward": NaN'),
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": "How many?"},
                    {"role": "assistant", "content": ANSWER},
                ]
            }
        ),
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n")

    prepared = prepare(
        FinetuneSettings(data_dir=data_dir, data=(str(file),), base="tiny", method="grpo")
    )

    assert len(credits(prepared)) == 2
    assert dropped(prepared) == {"bad_reward": 3, "no_reward": 1}
    assert any("reward 1.5 is not in [0, 1]" in reason for reason in reasons(prepared))


# -- pairs ---------------------------------------------------------------------------------------


def test_a_success_stands_beside_the_models_own_failure_at_the_same_task(
    data_dir: Path, by: Renderer
) -> None:
    good = tried(data_dir, by, CALL, ANSWER, reward=1.0)
    bad = tried(data_dir, by, CALL, WRONG, reward=0.0)
    write_log(
        data_dir,
        [
            good,
            bad,
            tried(data_dir, by, CALL, ANSWER, reward=1.0, task_id="t2"),
            tried(data_dir, by, CALL, WRONG, reward=0.0, task_id="t3"),
            tried(data_dir, by, CALL, WRONG, reward=0.0, model="another"),
        ],
    )

    prepared = run(data_dir, "dpo")

    assert [set(row) for row in credits(prepared)] == [{1.0}, {-1.0}]
    assert dropped(prepared) == {"no_loser": 1, "no_winner": 2}
    [source] = prepared.sources()
    rows = [source.rows.token_row(index) for index in range(2)]
    assert [row.pair for row in rows] == [0, 0]
    assert list(source.rows.names()) == [good.id, bad.id]
    parted = next(
        at for at, (a, b) in enumerate(zip(rows[0].ids, rows[1].ids, strict=False)) if a != b
    )
    assert not any(row.loss[:parted].any() for row in rows)
    assert all(row.loss[parted] for row in rows)


def test_a_success_after_a_malformed_turn_has_its_pair_and_does_not_teach_the_turn(
    data_dir: Path, by: Renderer
) -> None:
    good = tried(data_dir, by, MALFORMED, ANSWER, reward=1.0)
    wrong = next(i for i, step in enumerate(good.steps) if step.text == MALFORMED)
    steps = list(good.steps)
    steps[wrong] = steps[wrong].model_copy(update={"error": "no call"})
    good = good.model_copy(update={"steps": tuple(steps)})
    write_log(data_dir, [good, tried(data_dir, by, CALL, WRONG, reward=0.0)])

    found = credits(run(data_dir, "dpo"))

    assert [len(found[0]), set(found[1])] == [len(good.steps[-1].token_ids or ()), {-1.0}]


def test_a_task_gives_no_more_pairs_than_may_be_of_it(data_dir: Path, by: Renderer) -> None:
    numbers = range(3)
    good = [tried(data_dir, by, f"Thought: {n}\nFinal Answer: 12 {n}", reward=1.0) for n in numbers]
    bad = [tried(data_dir, by, f"Thought: {n}\nFinal Answer: 9", reward=0.0) for n in numbers]
    write_log(data_dir, [*good, *bad])

    prepared = run(data_dir, "dpo", max_per_task=2, batch_size=3)

    assert len(credits(prepared)) == 4
    assert dropped(prepared) == {"unpaired": 2}
    assert {int(end) % 2 for end in prepared.plan().ends} == {0}, "no pair is in two steps"


def test_what_was_said_under_a_constraint_is_compared_with_the_starting_weights(
    data_dir: Path, by: Renderer
) -> None:
    good = tried(data_dir, by, ANSWER, reward=1.0)
    bad = resampled(tried(data_dir, by, WRONG, reward=0.0), constraint_digest="c")
    write_log(data_dir, [good, bad])

    [source] = run(data_dir, "dpo").sources()
    known = [source.rows.token_row(index).recorded for index in range(2)]

    assert np.isfinite(known[0][-1])
    assert np.isnan(known[1]).all()


def test_a_base_in_4_bits_is_compared_with_itself_and_not_with_what_was_recorded(
    data_dir: Path, by: Renderer
) -> None:
    write_log(
        data_dir,
        [tried(data_dir, by, ANSWER, reward=1.0), tried(data_dir, by, WRONG, reward=0.0)],
    )

    [source] = run(data_dir, "dpo", quantize="nf4").sources()

    for index in range(2):
        row = source.rows.token_row(index)
        assert row.recorded is not None
        assert np.isnan(row.recorded).all()


def test_pairs_are_read_from_files_of_every_spelling(data_dir: Path, tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Two and two?"}]
    four, five = ([{"role": "assistant", "content": text}] for text in ("Four.", "Five."))
    rows = [
        {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."},
        {"prompt": asked, "chosen": four, "rejected": five},
        {"chosen": asked + four, "rejected": asked + five},
        {
            "input": {"messages": asked},
            "preferred_output": four,
            "non_preferred_output": five,
        },
    ]
    broken = [
        {"prompt": "Two and two?", "chosen": "Four."},
        {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Four."},
        {"chosen": "Four.", "rejected": "Five."},
        {"preferred_output": four, "non_preferred_output": five},
        {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five.", "score_chosen": 0.1},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows + broken))

    prepared = prepare(
        FinetuneSettings(
            data_dir=data_dir, data=(str(file),), base="tiny", method="dpo", max_malformed=1.0
        )
    )

    assert [row[0] for row in credits(prepared)] == [1.0, -1.0] * 4
    assert dropped(prepared) == {"malformed": 5}
    found = " ".join(reasons(prepared))
    for reason in ("rejected: a pair needs one", "are the same", "input: an object with messages"):
        assert reason in found
    assert "score_chosen: it could change" in found


# -- thumbs --------------------------------------------------------------------------------------


def test_a_good_and_a_bad_answer_of_one_conversation_are_two_rows(
    data_dir: Path, by: Renderer
) -> None:
    steps = recorded(conversation(by, "How many?", ANSWER, WRONG), version(data_dir))
    one = trajectory(steps, source="chat", reward=0.5)
    sampled = [index for index, step in enumerate(steps) if step.origin is Origin.SAMPLED]
    spans = [(0, sampled[0] + 1, "chatcmpl-1"), (sampled[0] + 1, sampled[1] + 1, "chatcmpl-2")]
    one = one.model_copy(update={"interactions": tuple(interaction(one, *span) for span in spans)})
    judged = tuple(
        Feedback(author="ann", completion_id=completion, value=value)
        for completion, value in (("chatcmpl-1", True), ("chatcmpl-2", False))
    )
    file = data_dir / "rows.jsonl"
    file.write_text(record(one.model_copy(update={"feedback": judged})) + "\n")

    prepared = prepare(
        FinetuneSettings(data_dir=data_dir, data=(str(file),), base="tiny", method="kto")
    )

    assert [set(row) for row in credits(prepared)] == [{1.0}, {-1.0}]
    sizes = [len(steps[index].token_ids or ()) for index in sampled]
    assert [len(row) for row in credits(prepared)] == sizes


def test_labelled_text_that_nobody_says_is_left_out(data_dir: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": "Two and two?", "completion": "Four.", "label": True},
        {"prompt": "Two and three?", "completion": "Nine.", "label": False},
        {"text": "Bees carry pollen.", "label": True},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    prepared = prepare(
        FinetuneSettings(data_dir=data_dir, data=(str(file),), base="tiny", method="kto")
    )

    assert prepared.run.read("selection.json")["agent"]["dropped"] == {"plain_text": 1}


def test_labels_are_read_from_files_and_both_kinds_count_the_same(
    data_dir: Path, tmp_path: Path
) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "Two and two?", "completion": "Four.", "label": True},
        {"prompt": "Two and three?", "completion": "Five.", "label": True},
        {
            "messages": [
                {"role": "user", "content": "One and one?"},
                {"role": "assistant", "content": "Two."},
            ],
            "label": True,
        },
        {"prompt": "Two and two?", "completion": "Nine.", "label": False},
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    prepared = prepare(
        FinetuneSettings(data_dir=data_dir, data=(str(file),), base="tiny", method="kto")
    )

    found = [row[0] for row in credits(prepared)]
    assert found == pytest.approx([2 / 3] * 3 + [-2])
    assert math.fsum(found) == pytest.approx(0, abs=1e-5)


def test_thumbs_of_one_kind_alone_are_refused(data_dir: Path, by: Renderer) -> None:
    write_log(data_dir, [tried(data_dir, by, ANSWER, reward=1.0)])

    with pytest.raises(OperatorError, match="good answers beside bad ones, and found 1 and 0"):
        run(data_dir, "kto")


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "grpo", "min_reward": 0.5}, "--min-reward is for --method sft and dpo and kto"),
        ({"method": "grpo", "general": ("log",)}, "--general is for --method sft, not for grpo"),
        ({"method": "dpo", "eval_share": 0.1}, "--eval-share is for --method sft, not for dpo"),
        ({"method": "sft", "beta": 1.0}, "--beta is for --method dpo and kto, not for sft"),
        ({"method": "grpo", "dry_run": True}, "--dry-run is for --method sft and dpo and kto"),
        ({"method": "dpo", "ratio_cap": 3.0}, "--ratio-cap is for --method grpo, not for dpo"),
    ],
)
def test_a_setting_that_the_method_would_pass_over_is_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(OperatorError, match=words):
        FinetuneSettings(from_logs=True, **settings).check()


def test_a_run_of_before_there_were_methods_goes_on_and_one_of_a_method_under_that_alone(
    data_dir: Path, by: Renderer
) -> None:
    write_log(
        data_dir,
        [tried(data_dir, by, ANSWER, reward=1.0), tried(data_dir, by, WRONG, reward=0.0)],
    )
    plain = FinetuneSettings(data_dir=data_dir, from_logs=True, base="tiny", name="plain")
    assert "method" not in prepare(plain).run.read("recipe.json")
    prepare(plain)
    prepare(plain.model_copy(update={"method": "grpo", "name": "rewarded"}))

    with pytest.raises(OperatorError, match="method was 'grpo'"):
        prepare(plain.model_copy(update={"name": "rewarded"}))
    with pytest.raises(OperatorError, match="method was None"):
        prepare(plain.model_copy(update={"method": "grpo"}))
