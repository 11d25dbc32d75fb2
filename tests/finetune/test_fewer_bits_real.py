"""DeepSpeed trains on a base of 4 bits, with an optimizer of 8, for real: on a CPU."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from agentlm.finetune.data.prepare import Prepared
from agentlm.finetune.run import Run
from agentlm.finetune.training.loss.sft import Imitation
from agentlm.finetune.training.model import load, pack_loss
from agentlm.finetune.training.train import probe_pack
from agentlm.models.registry import Registry
from agentlm.prompt.render import Renderer
from support.finetune_logs import ANSWER, CALL, conversation, registered, trajectory, write_log
from support.lives import lived
from support.rewarded import WRONG, tries

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

RUNS: dict[str, dict[str, object]] = {
    "whole": {},
    "small": {"quantize": "nf4"},
    # Under ZeRO even a tiny adapter's state is in one tensor, which is long enough for 8 bits.
    "small-8": {"quantize": "nf4", "optimizer": "adamw8bit", "zero_stage": 2},
    "full": {"full": True, "lr": 0.003},
    "full-8": {"full": True, "lr": 0.003, "optimizer": "adamw8bit"},
}
KILLED = ("small-8", "full-8")
TWO = [{"quantize": "nf4"}, {}]
"""Runs that learn from one pair, whose record is of the whole base."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, chatml_llama: Path, by: Renderer) -> Path:
    """A data directory in which all of the runs were done."""
    home = tmp_path_factory.mktemp("bits")
    registered(home, chatml_llama)
    rows = [
        conversation(by, f"How many {what} are left?", CALL, ANSWER) for what in ("figs", "plums")
    ]
    write_log(home, [trajectory(steps) for steps in rows])
    weights = Registry(home).get("tiny").weights_version
    judged = tries(chatml_llama, by, weights, [(ANSWER,), (WRONG,)], (1.0, 0.0))
    (home / "tries.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in judged))
    common: dict[str, object] = {"data_dir": str(home), "base": "tiny", "precision": "float32"}
    common |= {"batch_size": 2, "max_steps": 6, "save_every": 2, "lr": 0.01}
    learned = common | {"from_logs": True, "skip_filters": ["near_duplicate"]}
    plan = [(learned | {"name": name} | fields, "whole") for name, fields in RUNS.items()]
    for name in KILLED:
        plan += [
            (learned | {"name": f"{name}-killed"} | RUNS[name], moment)
            for moment in ("between steps", "whole")
        ]
    paired = common | {"method": "dpo", "data": [str(home / "tries.jsonl")], "max_steps": 1}
    plan += [(paired | {"name": f"paired-{n}"} | fields, "whole") for n, fields in enumerate(TWO)]
    codes, printed = lived(plan)
    assert codes == ["0" if moment == "whole" else "-9" for _, moment in plan], printed
    return home


def metrics(home: Path, name: str) -> list[dict[str, float]]:
    lines = (home / "runs" / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def losses(home: Path, name: str) -> list[float]:
    return [line["loss"] for line in metrics(home, name)]


@pytest.mark.parametrize("name", ["small", "small-8", "full-8"])
def test_what_was_seen_is_learned(home: Path, name: str) -> None:
    found = losses(home, name)

    assert found[-1] < found[0] - 1
    whole = losses(home, "full" if name == "full-8" else "whole")
    assert found == pytest.approx(whole, rel=0.05)
    assert found != pytest.approx(whole, rel=1e-6), "it was with fewer bits"


@pytest.mark.parametrize("name", KILLED)
def test_a_run_that_was_killed_ends_with_the_same_losses(home: Path, name: str) -> None:
    whole, killed = metrics(home, name), metrics(home, f"{name}-killed")

    assert [line["step"] for line in killed] == list(range(6))
    for key in ("loss", "grad_norm"):
        assert [line[key] for line in killed] == pytest.approx([line[key] for line in whole])


@torch.no_grad()
def loss_on_whole_base(home: Path, base: Path, adapter: Path | None) -> float:
    """The mean loss of a token of one row that was trained on."""
    run = Prepared(Run(home / "runs/small"), Registry(home).resolve(Registry(home).get("small")))
    probe = probe_pack(run.sources(), run.plan())
    loss = pack_loss(load(base, adapter, torch.float32).eval(), Imitation())
    return float(loss(probe)) / float(probe.weights.sum())


def test_the_adapter_is_one_of_the_whole_base_and_how_far_that_is_off_is_told(
    home: Path, chatml_llama: Path
) -> None:
    adapter = home / "runs/small/model"
    learned = loss_on_whole_base(home, chatml_llama, adapter)
    assert learned < loss_on_whole_base(home, chatml_llama, None) - 1

    small, whole = (
        json.loads((home / "runs" / name / "model/adapter_config.json").read_text())
        for name in ("small", "whole")
    )
    assert sorted(small.pop("target_modules")) == sorted(whole.pop("target_modules"))
    assert small == whole

    log = (home / "runs/small/run.log").read_text()
    assert "saved and read back: it differs by" in log
    apart = re.search(r"on the whole base, .* differs from what was trained by (\S+) nats", log)
    assert apart is not None
    assert 1e-6 < float(apart[1]) < 0.1
    assert "on the whole base" not in (home / "runs/whole/run.log").read_text()


def test_preferences_are_compared_with_the_base_as_it_is_trained(home: Path) -> None:
    small, whole = (losses(home, f"paired-{n}")[0] for n in (0, 1))

    start = torch.log(torch.tensor(2.0)).item()  # of a model that is its own reference
    assert small == pytest.approx(start, abs=1e-4)
    assert whole == pytest.approx(start, abs=1e-2)
    references = [list((home / "runs" / f"paired-{n}").rglob("reference.bin")) for n in (0, 1)]
    assert [len(found) for found in references] == [1, 0]
