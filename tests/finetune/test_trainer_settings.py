"""What an owner of hardware sets: DeepSpeed's file, the adapter, where a run is shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentlm.errors import OperatorError
from agentlm.finetune.deepspeed_file import merged, read_deepspeed
from agentlm.finetune.report.wandb import check_installed, wandb_run
from agentlm.finetune.run import Run
from agentlm.finetune.settings import FinetuneSettings, Precision


def file(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "ds.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def checked(**settings: Any) -> FinetuneSettings:
    found = FinetuneSettings(from_logs=True, **settings)
    found.check()
    return found


# -- DeepSpeed's file ----------------------------------------------------------------------------


def test_a_file_of_transformers_users_is_merged_and_its_autos_are_ours(tmp_path: Path) -> None:
    content = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto"}},
        "zero_optimization": {"stage": 3, "overlap_comm": True, "reduce_bucket_size": "auto"},
        "wall_clock_breakdown": False,
    }
    settings = checked(deepspeed=file(tmp_path, content))

    found = settings.deepspeed_config
    assert found["zero_optimization"] == {"stage": 3, "overlap_comm": True}
    assert "optimizer" not in found
    assert settings.chosen_stage == 3
    ours = {"zero_optimization": {"stage": 0, "x": 1}, "gradient_clipping": 1.0}
    assert merged(ours, found)["zero_optimization"] == {"stage": 3, "x": 1, "overlap_comm": True}
    assert merged(ours, found)["gradient_clipping"] == 1.0
    assert settings.recipe()["deepspeed"] == found, "the recipe has what it says, not where it was"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "can't be read"),
        ([], "a JSON object is needed"),
        ({"train_batch_size": 8}, "train_batch_size is set by --batch-size"),
        ({"gradient_clipping": 0.5}, "gradient_clipping is set by --clip"),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler is set by --warmup"),
        ({"zero_optimisation": {}}, "unknown zero_optimisation; did you mean zero_optimization"),
        ({"fp16": {"enabled": True}}, "fp16.enabled is set by --precision"),
        ({"optimizer": {"type": "Lamb"}}, "optimizer.type is AdamW, got 'Lamb'"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": 1}}}, "optimizer.params.lr is set by"),
    ],
)
def test_a_file_that_says_what_it_may_not_is_refused(
    tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(OperatorError, match=words):
        read_deepspeed(file(tmp_path, content))


def test_nothing_is_said_twice(tmp_path: Path) -> None:
    path = file(tmp_path, {"zero_optimization": {"stage": 2, "offload_optimizer": {}}})
    with pytest.raises(OperatorError, match="--zero-stage 3, and --deepspeed says 2"):
        checked(deepspeed=path, zero_stage=3)
    with pytest.raises(OperatorError, match="--offload, and --deepspeed says"):
        checked(deepspeed=path, offload="all")
    with pytest.raises(OperatorError, match="can't be read"):
        checked(deepspeed=tmp_path / "none.json")


# -- the adapter ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [{"lora_rank": 8}, {"lora_alpha": 8}, {"lora_targets": ("q_proj",)}, {"lora_dropout": 0.1}],
)
def test_what_is_of_an_adapter_is_refused_where_all_weights_are_trained(
    setting: dict[str, Any],
) -> None:
    with pytest.raises(OperatorError, match=r"is for --lora, not for --full"):
        checked(full=True, **setting)


def test_ratios_are_of_a_whole_model() -> None:
    with pytest.raises(OperatorError, match="--lora-dropout is for --method sft and dpo and kto"):
        checked(method="grpo", lora_dropout=0.1)


def test_a_target_that_is_no_matrix_is_refused_with_those_there_are() -> None:
    from torch import nn

    from agentlm.finetune.training.model import check_targets

    model = nn.ModuleDict({"q_proj": nn.Linear(2, 2), "norm": nn.LayerNorm(2)})
    check_targets(model, ["q_proj"])
    for wrong in ("norm", "p_proj", "proj"):
        with pytest.raises(OperatorError, match=f"no matrix {wrong}; known: q_proj"):
            check_targets(model, ["q_proj", wrong])


def test_an_adapter_that_goes_on_stays_as_it_is() -> None:
    from agentlm.finetune.training.model import check_continued

    there = SimpleNamespace(r=4, lora_alpha=8, target_modules={"v_proj"}, lora_dropout=0.0)
    check_continued(there, FinetuneSettings())
    check_continued(there, FinetuneSettings(lora_rank=4))
    for rank in (8, 16):  # the second is the default, and was given
        with pytest.raises(OperatorError, match=f"--lora-rank {rank}: the adapter .* has 4"):
            check_continued(there, FinetuneSettings(lora_rank=rank))
    with pytest.raises(OperatorError, match="--lora-targets"):
        check_continued(there, FinetuneSettings(lora_targets=("q_proj",)))


# -- Weights & Biases ----------------------------------------------------------------------------


class Wandb:
    """The library as far as a run needs it."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, float], int]] = []
        self.finished = 0

    def init(self, **options: Any) -> Wandb:
        self.begun.append(options)
        return self

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.logged.append((metrics, step))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "next")
    run.directory.mkdir()
    run.write("recipe.json", {"lr": 1.0})
    run.write("starts.json", [{"time": "2026-11-27T00:00:00"}])
    return run


def test_a_named_project_is_shown_the_run_and_a_killed_one_goes_on_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", there)
    monkeypatch.setenv("WANDB_PROJECT", "agents")
    for step in range(2):
        with wandb_run(run) as observer:
            observer[0].report({"step": step, "loss": 1.0})

    assert [step for _, step in there.logged] == [0, 1]
    assert there.begun[0]["id"] == there.begun[1]["id"]
    assert there.begun[0]["resume"] == "allow"
    assert there.begun[0]["config"] == {"lr": 1.0}
    assert there.finished == 2


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WANDB_API_KEY": "k"},
        {"WANDB_PROJECT": "agents", "WANDB_MODE": "disabled"},
        {"WANDB_PROJECT": "agents", "WANDB_DISABLED": "true"},
    ],
)
def test_without_a_project_nothing_is_asked_of_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check_installed()
    with wandb_run(run) as observer:
        assert observer == []


def test_a_project_without_the_library_is_said_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "agents")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(OperatorError, match="wandb is not installed: pip install wandb"):
        check_installed()


@pytest.mark.parametrize(
    ("precision", "gpu", "amx", "dtype"),
    [
        ("float32", True, True, "float32"),
        ("bfloat16", False, False, "bfloat16"),
        ("auto", True, False, "bfloat16"),
        ("auto", False, True, "bfloat16"),
        ("auto", False, False, "float32"),
    ],
)
def test_a_model_is_computed_in_bfloat16_where_the_hardware_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, gpu: bool, amx: bool, dtype: str
) -> None:
    import torch

    from agentlm.finetune.training.model import training_dtype

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)

    assert training_dtype(precision) is getattr(torch, dtype)


# -- the loss of general rows --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs --general FILE"),
        ({"general": ("x.jsonl",), "full": True}, "is for --lora"),
        ({"general": ("x.jsonl",), "method": "dpo"}, "--general is for --method sft"),
    ],
)
def test_distilling_needs_rows_and_a_base_that_stays(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        checked(general_loss="distill", **settings)


def test_a_recipe_without_distillation_is_as_it_was_before_there_was_any() -> None:
    plain = checked(general=("x.jsonl",))
    assert "general_loss" not in plain.recipe()
    assert checked(general=("x.jsonl",), general_loss="distill").recipe()["general_loss"]
