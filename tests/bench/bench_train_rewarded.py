"""`dpo` and `grpo` beside TRL's trainers: `python tests/bench/bench_train_rewarded.py`.

Prints Markdown. One step of SmolLM2-135M (LoRA, float32, AdamW) over the same token ids: two groups
of eight tries, each group at a task of `bench_train.py`. For `dpo` they are eight pairs, TRL's loss
is `sigmoid_norm` (the same formula), and both compute the reference themselves; a second line of
ours has it recorded, as the log has it of tries that the model itself sampled. For `grpo` all
sixteen are learned from, TRL's loss is `dr_grpo` at equal probabilities of sampling, and TRL is
given the tries instead of generating them: generation is not compared.

TRL takes a pair or a try at a time, so that it pads nothing. Each run is a process of its own, one
after the other. What the step did is measured by transformers alone: the mean log-probability of a
token of each try, times its credit, before and after.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from bench_train import (
    BASE,
    GROUP_PACK,
    SHAPES,
    TRIES,
    Clock,
    Data,
    base_model,
    groups_of_tries,
    load,
    lora,
    make_rows,
    on_gpu,
    peak_gib,
    precision,
    run_apart,
    settings,
)

from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.training.packing import pack

GROUPS = 2
LR = 2e-4
METHODS = ("dpo", "grpo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-dir", type=Path, help="keep rows and plan here for another time")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--shape", choices=[BASE, *SHAPES], default=BASE, help="other: random")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.checkpointing = False
    if arguments.run:
        print(json.dumps(RUN[arguments.run](arguments)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments.data_dir = arguments.data_dir or Path(temporary)
        make_rows(arguments)
        sides = [f"{side}-{m}" for m in arguments.methods for side in ("trl", "agentlm")]
        sides += ["agentlm-dpo-recorded"] if "dpo" in arguments.methods else []
        found: dict[str, list[dict[str, Any]]] = {}
        for _, side in product(range(arguments.repeat), sides):
            ours = side.startswith("agentlm")
            shape = ("--shape", arguments.shape)
            one = run_apart(__file__, side, arguments.data_dir, *shape, tcmalloc=ours)
            found.setdefault(side, []).append(one)
        print("\n".join(table(rows_of(load(arguments)), found)))


def rows_of(data: Data) -> list[TokenRow]:
    """Tries with a credit each: the first of two is the better one."""
    rows = groups_of_tries(data)[: GROUPS * TRIES]
    return [
        row._replace(
            credit=np.full(len(row.ids), 0.5 if index % 2 == 0 else -0.5, np.float32),
            recorded=np.zeros(len(row.ids), np.float32),
            pair=index // 2,
        )
        for index, row in enumerate(rows)
    ]


def run_dpo(arguments: argparse.Namespace, *, recorded: bool = False) -> dict[str, Any]:
    from agentlm.finetune.training.loss.dpo import Pairs

    return run_agentlm(arguments, lambda _: Pairs(0.1), recorded=recorded)


def run_grpo(arguments: argparse.Namespace) -> dict[str, Any]:
    from agentlm.finetune.training.loss.grpo import GroupedRewards

    return run_agentlm(arguments, lambda tokens: GroupedRewards(2.0, tokens), recorded=True)


def run_agentlm(
    arguments: argparse.Namespace, objective: Callable[[int], Any], *, recorded: bool
) -> dict[str, Any]:
    """The step as `agentlm finetune` does it."""
    from agentlm.finetune.training import model, processes, zero

    data, training = load(arguments), settings(arguments)
    these = processes.join()
    network = model.load_for_training(data.base, None, training)
    rows = rows_of(data)
    loss = model.pack_loss(network, objective(sum(int(row.loss.sum()) for row in rows)))
    model.choose_attention(loss, precision())
    engine = zero.open_engine(loss, training, these)
    before = spoken_for(network, rows)
    if recorded:
        rows = with_reference(loss, rows)
    started = Clock.start()
    if not recorded:
        rows = with_reference(loss, rows)
    zero.optimize(engine, list(pack(rows, GROUP_PACK)), LR, these)
    return result(network, rows, started, before)


def with_reference(loss: Any, rows: Sequence[TokenRow]) -> list[TokenRow]:
    """The rows with their log-probabilities under the present weights."""
    import torch

    values = [np.zeros(len(row.ids), np.float32) for row in rows]
    numbered = [row._replace(number=index, pair=-1) for index, row in enumerate(rows)]
    with torch.no_grad():
        for laid in pack(numbered, GROUP_PACK):
            of_pack = loss.log_probabilities(laid).cpu().numpy()
            token, row = laid.row_tokens.token, laid.rows[laid.row_tokens.row]
            places = laid.positions[laid.sources[token]] + 1
            for one, place, value in zip(row, places, of_pack[token], strict=True):
                values[one][place] = value
    return [row._replace(recorded=value) for row, value in zip(rows, values, strict=True)]


def run_trl_dpo(arguments: argparse.Namespace) -> dict[str, Any]:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Tokenised(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    data = load(arguments)
    rows = rows_of(data)
    pairs = []
    for better, worse in zip(rows[::2], rows[1::2], strict=True):
        prompt = int(np.flatnonzero(better.loss)[0])
        pairs.append(
            {
                "prompt_ids": better.ids[:prompt].tolist(),
                "chosen_ids": better.ids[prompt:].tolist(),
                "rejected_ids": worse.ids[prompt:].tolist(),
            }
        )
    config = DPOConfig(
        **common(arguments, len(pairs)), beta=0.1, loss_type=["sigmoid_norm"], max_length=None
    )
    trainer = Tokenised(
        model=base_model(data),
        args=config,
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer(data),
        peft_config=lora(settings(arguments)),
    )
    before = spoken_for(trainer.model, rows)
    started = Clock.start()
    trainer.train()
    assert trainer.state.global_step == 1
    return result(trainer.model, rows, started, before)


def run_trl_grpo(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    data = load(arguments)
    rows = rows_of(data)
    queue = iter(rows)

    class Given(GRPOTrainer):  # type: ignore[misc]
        def _prepare_inputs(self, _: Any) -> dict[str, Any]:
            row = next(queue)
            prompt = int(np.flatnonzero(row.loss)[0])
            ids = torch.from_numpy(row.ids.astype(np.int64))[None].to(self.model.device)
            assert row.credit is not None
            return {
                "prompt_ids": ids[:, :prompt],
                "prompt_mask": torch.ones_like(ids[:, :prompt]),
                "completion_ids": ids[:, prompt:],
                "completion_mask": torch.ones_like(ids[:, prompt:]),
                "advantages": torch.from_numpy(row.credit[:1]).to(ids.device),
                "num_items_in_batch": torch.tensor(1.0),
            }

    config = GRPOConfig(
        **common(arguments, len(rows)),
        loss_type="dr_grpo",
        beta=0.0,
        num_generations=2,
        max_completion_length=512,
    )
    trainer = Given(
        model=base_model(data),
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "x"}] * len(rows)),
        processing_class=tokenizer(data),
        peft_config=lora(settings(arguments)),
    )
    before = spoken_for(trainer.model, rows)
    started = Clock.start()
    trainer.train()
    assert trainer.state.global_step == 1
    return result(trainer.model, rows, started, before)


def common(arguments: argparse.Namespace, accumulated: int) -> dict[str, Any]:
    """Settings of TRL's trainers: one optimizer step, as ours does it."""
    training = settings(arguments)
    return {
        "output_dir": str(arguments.data_dir / "trl"),
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": accumulated,
        "max_steps": 1,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "weight_decay": training.weight_decay,
        "adam_beta2": 0.95,
        "max_grad_norm": training.clip,
        "gradient_checkpointing": False,
        "bf16": on_gpu(),
        "use_cpu": not on_gpu(),
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def tokenizer(data: Data) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(data.base)


def result(network: Any, rows: Sequence[TokenRow], started: Clock, before: float) -> dict[str, Any]:
    """What was measured; the peak of memory before the last measurement can raise it."""
    seconds = time.perf_counter() - started.wall
    processor = time.process_time() - started.processor
    peak = peak_gib()
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "trained_tokens_per_s": sum(int(row.loss.sum()) for row in rows) / seconds,
        "peak_gib": peak,
        "gain": spoken_for(network, rows) - before,
    }


def spoken_for(network: Any, rows: Sequence[TokenRow]) -> float:
    """The mean over tries of credit times the mean log-probability of a token, by transformers."""
    import torch
    from torch.nn.functional import cross_entropy

    training, own = network.training, network.config._attn_implementation
    network.eval()
    network.set_attn_implementation("sdpa")
    values = []
    with torch.no_grad():
        for row in rows:
            assert row.credit is not None
            ids = torch.from_numpy(row.ids.astype(np.int64)).to(network.device)
            at = torch.from_numpy(row.loss[1:].astype(bool)).to(network.device)
            logits = network(input_ids=ids[None]).logits[0, :-1][at].float()
            values.append(float(row.credit[0]) * -float(cross_entropy(logits, ids[1:][at])))
    network.set_attn_implementation(own)
    network.train(training)
    return statistics.mean(values)


def table(rows: Sequence[TokenRow], found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Markdown; speeds are means, memory the largest."""
    tokens = sum(len(row.ids) for row in rows)
    computed = sum(len(laid.ids) for laid in pack(rows, GROUP_PACK))
    trained = sum(int(row.loss.sum()) for row in rows)
    yield (
        f"{len(rows)} tries at {GROUPS} tasks, {tokens:,} tokens, {computed:,} of them distinct "
        f"within a pack, {trained:,} trained on\n"
    )
    yield "| | trained tokens/s | each run | processor s | peak GiB | gain of credit, each run |"
    yield "|---|---:|---|---|---:|---|"
    for side, runs in found.items():
        speeds = [run["trained_tokens_per_s"] for run in runs]
        each = ", ".join(f"{speed:.1f}" for speed in speeds)
        used = ", ".join(f"{run['processor_seconds']:.0f}" for run in runs)
        gains = ", ".join(f"{run['gain']:.5f}" for run in runs)
        peak = max(run["peak_gib"] for run in runs)
        yield (
            f"| {side} | {statistics.mean(speeds):.1f} | {each} | {used} | {peak:.2f} | {gains} |"
        )
    yield ""
    for side in found:
        if not side.startswith("agentlm"):
            continue
        ours, theirs = found[side], found[f"trl-{side.split('-')[1]}"]
        faster = sum(run["seconds"] for run in theirs) / sum(run["seconds"] for run in ours)
        memory = max(r["peak_gib"] for r in ours) / max(r["peak_gib"] for r in theirs)
        yield f"{side}: {faster:.2f} × the speed, {memory:.2f} × the memory"


RUN: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "trl-dpo": run_trl_dpo,
    "trl-grpo": run_trl_grpo,
    "agentlm-dpo": run_dpo,
    "agentlm-dpo-recorded": lambda arguments: run_dpo(arguments, recorded=True),
    "agentlm-grpo": run_grpo,
}

if __name__ == "__main__":
    main()
