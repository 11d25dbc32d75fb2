"""What is selected from a log, what is left out and why, and what stands in a run's directory."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentlm.errors import OperatorError
from agentlm.files import alone
from agentlm.finetune.data.prepare import Prepared, prepare
from agentlm.finetune.dry_run import shrunken
from agentlm.finetune.main import begin
from agentlm.finetune.settings import FinetuneSettings
from agentlm.finetune.training.processes import Processes
from agentlm.prompt.render import Turn
from agentlm.trajectory import Outcome
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    registered,
    renderer,
    sampled,
    trajectory,
    write_log,
)
from support.tiny import tiny_llama


def run(data_dir: Path, **settings: object) -> Prepared:
    return prepare(FinetuneSettings(data_dir=data_dir, from_logs=True, **settings))


def test_only_what_was_rewarded_ended_and_may_be_trained_on_is_selected(
    data_dir: Path, chatml_llama: Path
) -> None:
    by = renderer(chatml_llama)
    steps = conversation(by, "How many?", CALL, ANSWER)
    good = trajectory(steps)
    write_log(
        data_dir,
        [
            good,
            trajectory(steps, reward=None),
            trajectory(steps, reward=0.0),
            trajectory(steps, reward=0.5),
            trajectory(steps, reward=None, outcome=Outcome.ERROR),
            trajectory(steps, may_train=False),
        ],
    )

    prepared = run(data_dir)

    found = prepared.run.read("selection.json")["agent"]
    assert found["rows"] == 6
    assert found["dropped"] == {
        "may_not_train": 1,
        "outcome": 1,
        "no_reward": 1,
        "low_reward": 2,
    }
    [source] = prepared.sources()
    assert list(source.rows.names()) == [good.id]
    assert source.rows.row(0)[0].tolist() == list(good.token_ids())


def test_the_selection_is_exported_as_agentinstruct(data_dir: Path, chatml_llama: Path) -> None:
    steps = conversation(renderer(chatml_llama), "How many?", CALL, ANSWER)
    write_log(data_dir, [trajectory(steps)])

    exported = run(data_dir).run.directory / "agentinstruct.jsonl"

    [row] = map(json.loads, exported.read_text().splitlines())
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert [turn["loss"] for turn in row["conversations"]] == [None, True, None, True]
    assert row["conversations"][1]["value"] == CALL
    assert "How many?" in row["conversations"][0]["value"]


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([], "nothing to train on: the log is empty"),
        ([None, 0.0, 0.5], "3 rows; left out: no_reward 1, low_reward 2; kept 0"),
    ],
)
def test_nothing_to_train_on_is_said_in_one_line_and_leaves_nothing_behind(
    data_dir: Path, chatml_llama: Path, rewards: list[float | None], message: str
) -> None:
    steps = conversation(renderer(chatml_llama), "How many?", CALL, ANSWER)
    write_log(data_dir, [trajectory(steps, reward=reward) for reward in rewards])

    with pytest.raises(OperatorError, match=message):
        run(data_dir)

    assert [path.name for path in (data_dir / "runs").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("quantization", "kind"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"bits": 8}, "in a way that config.json does not name"),
    ],
)
def test_a_base_with_quantized_weights_is_refused_before_any_row_is_read(
    tmp_path: Path, chatml_llama: Path, quantization: dict[str, object], kind: str
) -> None:
    base = tmp_path / "small"
    shutil.copytree(chatml_llama, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))
    registered(tmp_path, base)
    steps = conversation(renderer(chatml_llama), "How many?", CALL, ANSWER)
    write_log(tmp_path, [trajectory(steps)])

    with pytest.raises(OperatorError, match=rf"--base tiny: its weights are quantized \({kind}\)"):
        run(tmp_path, base="tiny")

    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".lock"]


@pytest.mark.parametrize(("model", "skipped"), [("teacher", ()), ("tiny", ("template_mismatch",))])
def test_what_another_tokenizer_recorded_is_rendered_anew_from_its_text(
    data_dir: Path, chatml_llama: Path, model: str, skipped: tuple[str, ...]
) -> None:
    by = renderer(chatml_llama)
    steps = conversation(by, "How many?", CALL, ANSWER)
    strange = [
        step.model_copy(update={"tokenizer_digest": "0" * 16, "token_ids": (1, 2)})
        for step in steps
    ]
    foreign = trajectory(strange).model_copy(update={"model": model})
    write_log(data_dir, [foreign, trajectory(conversation(by, "Who?", ANSWER))])

    prepared = run(data_dir, base="tiny", skip_filters=skipped)

    found = prepared.run.read("selection.json")["agent"]
    assert found["summary"] == "2 rows; left out: none; kept 2, 1 of them rendered anew"
    [source] = prepared.sources()
    ids, loss = source.rows.row(0)
    recorded = [i for step in steps for i in step.token_ids or ()]
    assert ids.tolist() == recorded
    assert by.decode(ids[loss == 1].tolist()) == CALL + ANSWER


def test_what_the_model_itself_said_under_another_template_is_refused(
    data_dir: Path, chatml_llama: Path
) -> None:
    steps = conversation(renderer(chatml_llama), "How many?", CALL, ANSWER)
    strange = [step.model_copy(update={"tokenizer_digest": "0" * 16}) for step in steps]
    write_log(data_dir, [trajectory(strange)])

    with pytest.raises(OperatorError, match=r"template_mismatch 1; kept 0; .* another tokenizer"):
        run(data_dir)


def test_a_secret_goes_and_with_it_the_ids_that_spell_it(
    data_dir: Path, chatml_llama: Path
) -> None:
    by = renderer(chatml_llama)
    key = "sk-proj-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst"
    write_log(data_dir, [trajectory(conversation(by, f"Use {key}.", CALL, ANSWER, observed=key))])

    prepared = run(data_dir)

    [source] = prepared.sources()
    text = by.decode(source.rows.row(0)[0].tolist())
    assert key not in text
    assert "Use [SECRET]." in text
    assert key not in (prepared.run.directory / "agentinstruct.jsonl").read_text()
    assert prepared.run.read("selection.json")["agent"]["scrubbed"] == {"openai token": 2}


def test_general_rows_get_their_share_of_the_mixture(data_dir: Path, chatml_llama: Path) -> None:
    by = renderer(chatml_llama)
    letters = ("apples", "berries", "cherries", "damsons")
    agent = [trajectory(conversation(by, f"How many {word}?", CALL, ANSWER)) for word in letters]
    chat = trajectory(
        [*by.open([Turn("user", "Good morning!")]), sampled(by, "And to you.")],
        source="chat",
        reward=None,
    )
    write_log(data_dir, [*agent, chat])
    rows = data_dir / "general.jsonl"
    turns = [{"from": "human", "value": "Sing!"}, {"from": "gpt", "value": "La la la."}]
    rows.write_text(json.dumps({"conversations": turns}) + "\n{broken\n")

    prepared = run(data_dir, general=("log", f"{rows}=3"), eta=0.5, max_malformed=0.5)

    names = {source.name: source.weight for source in prepared.sources()}
    assert names == {"agent": 0.5, "general-0": 0.125, "general-1": 0.375}
    found = prepared.run.read("selection.json")["general-1"]
    assert (found["rows"], found["kept"], found["dropped"]) == (2, 1, {"malformed": 1})
    assert found["examples"]["malformed"][0]["trajectory"] == "general.jsonl:2"
    ids, loss = prepared.sources()[2].rows.row(0)
    assert by.decode_verbatim(ids[loss == 1].tolist()) == "La la la.<|im_end|>"


def test_names_count_on_from_those_that_exist(data_dir: Path, chatml_llama: Path) -> None:
    write_log(data_dir, [trajectory(conversation(renderer(chatml_llama), "How many?", ANSWER))])

    assert [run(data_dir).run.name for _ in range(2)] == ["tiny-ft1", "tiny-ft2"]


def test_an_unfinished_run_goes_on_only_with_the_same_settings(
    data_dir: Path, chatml_llama: Path
) -> None:
    write_log(data_dir, [trajectory(conversation(renderer(chatml_llama), "How many?", ANSWER))])
    begun = run(data_dir, name="next")

    assert run(data_dir, name="next").run == begun.run
    with pytest.raises(OperatorError, match=r"begun with other settings \(lr was None\)"):
        run(data_dir, name="next", lr=0.1)


def test_the_recipe_of_an_adapter_that_goes_on_has_its_own_settings(
    data_dir: Path, chatml_llama: Path, tmp_path: Path
) -> None:
    own = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["v_proj", "q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(own))
    (tmp_path / "adapter_model.safetensors").touch()
    registered(data_dir, chatml_llama, "grown", base="tiny", adapter=str(tmp_path))
    steps = conversation(renderer(chatml_llama), "How many?", ANSWER)
    write_log(data_dir, [trajectory(steps)])
    begun = run(data_dir, name="next", base="grown").run

    recipe = begun.read("recipe.json")
    assert (recipe["lora_rank"], recipe["lora_alpha"], recipe["lora_dropout"]) == (4, 8, 0.1)
    assert recipe["lora_targets"] == ["q_proj", "v_proj"]
    assert run(data_dir, name="next", base="grown", lora_rank=4).run == begun
    before = recipe | {"lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.0}
    begun.write("recipe.json", {k: v for k, v in before.items() if k != "lora_targets"})
    assert run(data_dir, name="next", base="grown").run == begun
    with pytest.raises(OperatorError, match=r"begun with other settings \(lora_rank was 16\)"):
        run(data_dir, name="next", base="grown", lora_rank=8)
    assert (
        run(data_dir, name="merged", base="grown", full=True).run.read("recipe.json")["lora_rank"]
        == 16
    )


def test_a_tokenizer_of_another_model_is_refused(
    data_dir: Path, chatml_llama: Path, tmp_path: Path
) -> None:
    small = tiny_llama(tmp_path / "small", vocab=400)
    shutil.copy(chatml_llama / "tokenizer.json", small)
    registered(data_dir, small, "small")
    write_log(data_dir, [trajectory(conversation(renderer(chatml_llama), "Hi?", ANSWER))])

    with pytest.raises(OperatorError, match="the model has embeddings of 400 ids"):
        run(data_dir, base="small")
    assert not list((data_dir / "runs").glob("*small*"))


def test_a_run_that_is_being_trained_is_not_begun_again(data_dir: Path, chatml_llama: Path) -> None:
    steps = conversation(renderer(chatml_llama), "How many?", CALL, ANSWER)
    write_log(data_dir, [trajectory(steps)])
    settings = FinetuneSettings(data_dir=data_dir, from_logs=True, name="mine")
    with ExitStack() as first:
        begin(settings, first)
        with ExitStack() as second, pytest.raises(OperatorError, match=f"mine is .* {os.getpid()}"):
            begin(settings, second)
    with ExitStack() as later:
        assert begin(settings, later).run.name == "mine"


def test_two_dry_runs_do_not_take_each_others_place(tmp_path: Path) -> None:
    settings = FinetuneSettings(data_dir=tmp_path, from_logs=True)
    place = tmp_path / "runs" / ".dry-run"
    with (
        alone(place.with_name(".dry-run.lock"), "mine"),
        pytest.raises(OperatorError, match="another dry run"),
        shrunken(settings, Processes(0, 1)),
    ):
        pass
    assert not place.exists()
