"""Our trainer beside TRL's SFTTrainer: `python tests/bench/bench_train.py --data-dir DIR`.

The same rows (the database environment's expert runs), the same model (SmolLM2-135M, float32) and
as many optimizer steps: TRL with its packing and loss on the assistant's tokens only, ours as
`agentlm finetune` trains. Each run is a process of its own, so that its peak memory is its own.
Prints Markdown. `--data-dir` keeps the converted model between runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

ROWS = 24
LENGTH = 2048
HELD_OUT = 4
TRAINERS = ("trl", "agentlm")
KINDS = ("lora", "full")


def main() -> None:
    arguments = _arguments()
    if arguments.run:
        trainer, kind = arguments.run.split("-", 1)
        print(json.dumps(RUN[trainer](arguments, kind)))
        return
    _roll_out(arguments.data_dir)
    found = {
        (kind, trainer): _measure(arguments, trainer, kind)
        for kind, trainer in product(KINDS, TRAINERS)
    }
    print("\n".join(_table(found)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument(
        "--checkpointing", action="store_true", help="recompute activations in both"
    )
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def _roll_out(data_dir: Path) -> None:
    from agentlm.cli import run

    if not (data_dir / "agentlm.db").exists():
        flags = ["--env", "db", "--player", "gold", "-n", str(ROWS + HELD_OUT)]
        assert run("rollout", [*flags, "--data-dir", str(data_dir)]) == 0


def _measure(arguments: argparse.Namespace, trainer: str, kind: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--run", f"{trainer}-{kind}"]
    command += ["--data-dir", str(arguments.data_dir)]
    command += ["--checkpointing"] if arguments.checkpointing else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=_quiet())
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(kind, trainer, found, file=sys.stderr)
    return found


def _quiet() -> dict[str, str]:
    return os.environ | {"TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}


def _settings(arguments: argparse.Namespace, kind: str, **changes: Any) -> Any:
    from agentlm.finetune.settings import FinetuneSettings

    plain = {
        "data_dir": arguments.data_dir,
        "from_logs": True,
        "base": "smollm2-135m",
        "name": f"bench-{kind}-{os.getpid()}",
        "full": kind == "full",
        "lr": 2e-4 if kind == "lora" else 5e-5,
        "epochs": 1.0,
        "batch_size": 8,
        "max_length": LENGTH,
        "gradient_checkpointing": arguments.checkpointing,
        "skip_filters": ("near_duplicate",),
    }
    return FinetuneSettings(**(plain | changes))


def _rows(arguments: argparse.Namespace, kind: str) -> tuple[Any, Any, list[Any]]:
    """The run, its settings, and its rows as (ids, loss)."""
    from agentlm.finetune.prepare import prepare

    settings = _settings(arguments, kind)
    prepared = prepare(settings)
    source = prepared.sources()[0].rows
    return prepared, settings, [source.row(index) for index in range(len(source))]


def run_agentlm(arguments: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Three steps of eight rows, as `agentlm finetune` does them."""
    from agentlm.finetune import model, packing, processes, zero

    prepared, settings, rows = _rows(arguments, kind)
    these = processes.join()
    network = model.load_for_training(prepared.base.directory, None, settings)
    engine = zero.open_engine(model.pack_loss(network), settings, these)
    batches = [rows[first : first + 8] for first in range(0, ROWS, 8)]
    started = time.perf_counter()
    losses = [
        zero.optimize(
            engine,
            list(packing.pack(batch, settings.pack_tokens)),
            zero.learning_rate(step, len(batches), settings),
            these,
        )
        for step, batch in enumerate(batches)
    ]
    seconds = time.perf_counter() - started
    return _result(engine.module, rows, losses, seconds)


def run_trl(arguments: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The same rows in as many steps, packed to `LENGTH`."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from agentlm.finetune.attention import PACK_ATTENTION, register
    from agentlm.finetune.model import pack_loss

    prepared, settings, rows = _rows(arguments, kind)
    network = AutoModelForCausalLM.from_pretrained(prepared.base.directory, dtype=torch.float32)
    data = Dataset.from_list(
        [{"input_ids": ids.tolist(), "assistant_masks": loss.tolist()} for ids, loss in rows[:ROWS]]
    )
    packs = len(list(_first_fit(rows[:ROWS])))
    config = SFTConfig(
        output_dir=str(prepared.run.directory / "trl"),
        packing=True,
        max_length=LENGTH,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=-(-packs // 3),
        num_train_epochs=1,
        learning_rate=settings.peak_lr,
        lr_scheduler_type="cosine",
        warmup_ratio=0.02,
        weight_decay=0.1,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        gradient_checkpointing=arguments.checkpointing,
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=network,
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(prepared.base.directory),
        peft_config=lora if kind == "lora" else None,
    )
    started: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            started.append(time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    seconds = time.perf_counter() - started[0]
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    register()
    network = trainer.model
    module = pack_loss(network)
    module.model.set_attn_implementation(PACK_ATTENTION)
    return _result(module, rows, losses, seconds)


def _first_fit(rows: list[Any]) -> Iterator[int]:
    """Sizes of packs of whole rows, as best-fit-decreasing makes them; TRL's count."""
    packs: list[int] = []
    for length in sorted((len(ids) for ids, _ in rows), reverse=True):
        fitting = [index for index, size in enumerate(packs) if size + length <= LENGTH]
        if fitting:
            packs[max(fitting, key=packs.__getitem__)] += length
        else:
            packs.append(length)
    return iter(packs)


def _result(module: Any, rows: list[Any], losses: list[float], seconds: float) -> dict[str, Any]:
    import torch

    from agentlm.finetune.packing import pack

    # Before the evaluation below can raise it.
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    held_out = list(pack(rows[ROWS:], LENGTH))
    with torch.no_grad():
        total = sum(float(module.eval()(laid)) for laid in held_out)
    trained = sum(int(loss.sum()) for _, loss in rows[:ROWS])
    return {
        "trained_tokens": trained,
        "seconds": round(seconds, 1),
        "trained_tokens_per_s": round(trained / seconds, 2),
        "peak_gb": round(peak_gb, 2),
        "losses": [round(loss, 4) for loss in losses],
        "held_out": round(total / sum(float(laid.weights.sum()) for laid in held_out), 4),
    }


def _table(found: dict[tuple[str, str], dict[str, Any]]) -> Iterator[str]:
    yield f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, float32\n"
    yield "| | trained tokens/s | peak memory | held-out loss |"
    yield "|---|---|---|---|"
    for (kind, trainer), run in found.items():
        speed = f"{run['trained_tokens_per_s']:.1f}"
        yield f"| {kind}, {trainer} | {speed} | {run['peak_gb']:.1f} GB | {run['held_out']:.4f} |"
    for kind in KINDS:
        theirs, ours = found[kind, "trl"], found[kind, "agentlm"]
        faster = ours["trained_tokens_per_s"] / theirs["trained_tokens_per_s"]
        memory = ours["peak_gb"] / theirs["peak_gb"]
        yield f"\n{kind}: {faster:.2f} × the speed, {memory:.2f} × the memory"


RUN = {"trl": run_trl, "agentlm": run_agentlm}

if __name__ == "__main__":
    main()
