"""What the wheel runs, a person could type; and what a command would refuse is refused at once."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from agentlm.cli import main
from agentlm.commands.gate import GateModel
from agentlm.commands.promote import Promote
from agentlm.commands.wheel.checks import check_commands
from agentlm.commands.wheel.settings import WheelSettings
from agentlm.environments.playing.settings import RolloutSettings
from agentlm.finetune.settings import FinetuneSettings
from agentlm.settings import parse


def words(command: str, skip: int) -> list[str]:
    return shlex.split(command)[skip:]


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "grpo"])
def test_the_commands_of_a_turn_are_understood(method: str) -> None:
    settings = WheelSettings.model_validate(
        {"env": ("db", "os"), "method": method, "finetune_flags": "--lr 1e-3", "seed": 5}
    )
    check_commands(settings)

    played = parse(RolloutSettings, words(settings.rollout("os", 2, "w-1"), 2), "").drawn()
    assert (played.env, played.model, played.seed, played.split) == ("os", "w-1", 6, "train")
    assert played.tries == 8
    trained = parse(FinetuneSettings, words(settings.finetune(2, "w-1"), 2), "")
    assert trained.tags == played.tags == {"wheel": "wheel-2"}
    assert (trained.base, trained.name, trained.lr) == ("w-1", "wheel-2", 1e-3)
    gated = parse(GateModel, words(settings.gate(2), 3), "")
    assert (gated.name, gated.gate_split, gated.gate_seed) == ("wheel-2", "dev", 6)
    promoted = parse(Promote, words(settings.promote("w-1", "it begins"), 3), "")
    assert (promoted.name, promoted.force) == ("w-1", "it begins")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--finetune-flags=--lt 3"], "--finetune-flags: unknown argument --lt; did you mean --lr"),
        (["--finetune-flags=--full --lr 3"], "--finetune-flags: --full is not for the wheel"),
        (["--finetune-flags=--min-reward 0.5"], "--min-reward is for --method sft"),
        (["--rollout-flags=--temperature 0.5"], "--for grpo needs --temperature 1.0, got 0.5"),
        (["--rollout-flags=--max-tokens 0"], "--rollout-flags: --max-tokens: Input should be"),
        (["--gate-flags=--gate-max-loss 3"], "--gate-flags: --gate-max-loss"),
        (["--eval-flags='"], "--eval-flags: No closing quotation"),
        (["--env", "dbx"], "unknown environment 'dbx'"),
        (["--env", "db,db"], "--env: two families have one name in db, db"),
        (["--turns", "0"], "--turns: Input should be greater than or equal to 1"),
        (["--budget-hours", "nan"], "--budget-hours"),
        (["--name", "../x"], "--name: String should match pattern"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], complaint: str
) -> None:
    assert main(["wheel", "--env", "db", "--data-dir", str(tmp_path), *flags]) == 2
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
