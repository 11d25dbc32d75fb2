"""Our trainer beside TRL's SFTTrainer: `python tests/bench/bench_train.py [--data-dir DIR]`.

Prints Markdown. Two steps of eight rows, 12 of them the experts' runs of the database, shell and
graph environments, which share a system prompt and tool descriptions as the log's rows do, and 4
plain chats; eight more rows are held out. Both train SmolLM2-135M (or a random model of another
`--shape`) in float32, on a GPU in bfloat16, on the same token ids and loss marks with the same
AdamW, a constant learning rate and no gradient checkpointing (unless asked for), in packs of at
most 2,048 tokens, without dropout. TRL packs by best fit (its default) and attends by transformers'
`sdpa`. It makes as many optimizer steps, of about as many tokens. Ours runs with tcmalloc, as
`agentlm finetune` starts itself; `--tcmalloc` gives it to TRL too.

Then groups of eight tries at a task, as `--method grpo` has them: what is computed of them, and how
long that takes, beside the bound that their distinct tokens give.

Each run is a process of its own, one after the other (A B A B), so that its peak memory is its own
and a slow minute of the machine hits both. Losses are computed by transformers alone, row by row.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agentlm.cli import main as agentlm
from agentlm.finetune.data.dataset import TokenRow
from agentlm.finetune.data.mixture import Plan
from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.data.sources import open_sources
from agentlm.finetune.run import Run
from agentlm.finetune.settings import FinetuneSettings
from agentlm.finetune.training.allocator import preloaded
from agentlm.finetune.training.packing import pack
from agentlm.models.registry import Registry

STEPS, ROWS, LENGTH = 2, 8, 2048
AGENT_SHARE = 0.75
GROUPS, TRIES, GROUP_PACK = 4, 8, 8192
KINDS = ("lora", "full")
TRAINERS = ("trl", "agentlm")
BASE = "smollm2-135m"
SHAPES = {
    "tiny": (64, 128, 2, 4),
    "llama-2-7b": (4096, 11008, 32, 32),
}
"""Width, width of the MLP, layers, heads."""
DOCS = Path(__file__).parents[2] / "docs"


class Data(NamedTuple):
    """What every run trains on and is measured by."""

    base: Path
    batches: list[list[TokenRow]]
    held_out: list[TokenRow]


class Clock(NamedTuple):
    """When training began."""

    wall: float
    processor: float
    """All cores together: what other programs took is not in it."""

    @classmethod
    def start(cls) -> Clock:
        return cls(time.perf_counter(), time.process_time())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-dir", type=Path, help="keep rows and plan here for another time")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations, both")
    parser.add_argument("--tcmalloc", action="store_true", help="for TRL too")
    parser.add_argument("--shape", choices=[BASE, *SHAPES], default=BASE, help="other: random")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(RUN[arguments.run](arguments)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments.data_dir = arguments.data_dir or Path(temporary)
        make_rows(arguments)
        untrained = measure(arguments, "untrained")["held_out"]
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for _, kind, trainer in product(range(arguments.repeat), arguments.kinds, TRAINERS):
            result = measure(arguments, f"{trainer}-{kind}")
            found.setdefault((kind, trainer), []).append(result)
        print("\n".join(table(load(arguments), untrained, found)))
        print("\n".join(groups_table(measure(arguments, "agentlm-groups"))))


def make_rows(arguments: argparse.Namespace) -> None:
    """Roll out, write the chats, and prepare the run, unless that was done before."""
    data_dir = arguments.data_dir
    if (data_dir / "runs" / "bench").exists():
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    for environment in ("db", "os", "kg"):
        flags = ["--env", environment, "--player", "gold", "-n", str((STEPS + 1) * ROWS // 4)]
        assert agentlm(["rollout", *flags, "--data-dir", str(data_dir)]) == 0
    chats = [{"messages": list(chat)} for chat in plain_chats()]
    (data_dir / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    prepare(settings(arguments))


def plain_chats() -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """What an assistant that knows this project's documentation would say."""
    for page in sorted(DOCS.glob("*.md")):
        for title, text in re.findall(r"^## (.+)\n([^#]+)", page.read_text(), re.MULTILINE):
            question = f"What is there to know about this: {title}? In a few sentences, please."
            answer = text.strip()[:1500]
            yield {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def settings(arguments: argparse.Namespace, kind: str = "lora") -> FinetuneSettings:
    return FinetuneSettings(
        precision="bfloat16" if on_gpu() else "float32",  # as TRL beside it
        data_dir=arguments.data_dir,
        from_logs=True,
        base=BASE,
        name="bench",
        full=kind == "full",
        general=(str(arguments.data_dir / "chats.jsonl"),),
        eta=AGENT_SHARE,
        batch_size=ROWS,
        max_steps=STEPS + 1,
        max_length=LENGTH,
        pack_tokens=LENGTH,
        gradient_checkpointing=arguments.checkpointing,
        skip_filters=("near_duplicate",),
    )


def load(arguments: argparse.Namespace) -> Data:
    run = Run(arguments.data_dir / "runs" / "bench")
    plan, sources = Plan.load(run.directory / "plan.npz"), open_sources(run)
    *batches, held_out = (plan.batch(step, sources) for step in range(STEPS + 1))
    return Data(base_directory(arguments), batches, held_out)


def base_directory(arguments: argparse.Namespace) -> Path:
    """SmolLM2's files, or those of a random model of another shape with its tokens."""
    registry = Registry(arguments.data_dir)
    known = registry.resolve(registry.get(BASE)).directory
    if arguments.shape == BASE:
        return known
    directory: Path = arguments.data_dir / arguments.shape
    if not (directory / "tokenizer.json").exists():
        import torch
        from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

        width, inner, layers, heads = SHAPES[arguments.shape]
        tokens = AutoTokenizer.from_pretrained(known)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=4096,
            dtype=precision(),
        )
        with torch.device("cuda" if on_gpu() else "cpu"):
            model = LlamaForCausalLM(config).to(precision())
        model.save_pretrained(directory)
        tokens.save_pretrained(directory)
    return directory


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def precision() -> Any:
    """What both compute in."""
    import torch

    return torch.bfloat16 if on_gpu() else torch.float32


def measure(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Run one of `RUN` in a process of its own."""
    flags = ["--shape", arguments.shape]
    flags += ["--checkpointing"] if arguments.checkpointing else []
    ours = name.startswith("agentlm")
    return run_apart(
        __file__, name, arguments.data_dir, *flags, tcmalloc=ours or arguments.tcmalloc
    )


def run_apart(
    script: str, name: str, data_dir: Path, *flags: str, tcmalloc: bool
) -> dict[str, Any]:
    """One of a benchmark's runs in a process of its own. `agentlm finetune` starts itself with
    tcmalloc, where it is installed."""
    command = [sys.executable, script, "--run", name, "--data-dir", str(data_dir), *flags]
    quiet = os.environ | {"TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Threads that wait asleep: else, beside other programs, spinning would count as work.
    quiet["OMP_WAIT_POLICY"] = "PASSIVE"
    quiet |= preloaded() if tcmalloc else {}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=quiet)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(name, found, file=sys.stderr, flush=True)
    return found


def run_untrained(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the base model says of the held-out rows."""
    data = load(arguments)
    return {"held_out": held_out_loss(base_model(data), data.held_out)}


def run_agentlm(arguments: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The steps as `agentlm finetune` does them."""
    from agentlm.finetune.training import model, processes, zero
    from agentlm.finetune.training.loss.sft import Imitation

    data, training = load(arguments), settings(arguments, kind)
    these = processes.join()
    network = model.load_for_training(data.base, None, training)
    loss = model.pack_loss(network, Imitation())
    model.choose_attention(loss, precision())
    engine = zero.open_engine(loss, training, these)
    started = Clock.start()
    for batch in data.batches:
        zero.optimize(engine, list(pack(batch, LENGTH)), training.peak_lr, these)
    return result(network, data, started)


def run_groups(arguments: argparse.Namespace) -> dict[str, Any]:
    """A step over groups of tries, what they share computed once and then with every row."""
    from agentlm.finetune.training import model, processes, zero
    from agentlm.finetune.training.loss.sft import Imitation

    data, training = load(arguments), settings(arguments)
    these = processes.join()
    network = model.load_for_training(data.base, None, training)
    loss = model.pack_loss(network, Imitation())
    model.choose_attention(loss, precision())
    engine = zero.open_engine(loss, training, these)
    rows = groups_of_tries(data)
    found: dict[str, Any] = {
        "rows": sum(len(row.ids) for row in rows),
        "distinct": len({row.ids[:end].tobytes() for row in rows for end in ends(row)}),
    }
    for name, share in (("shared", True), ("whole", False)):
        packs = list(pack(rows, GROUP_PACK, share=share))
        started = Clock.start()
        zero.optimize(engine, packs, training.peak_lr, these)
        seconds = time.perf_counter() - started.wall
        found[name] = {"tokens": sum(len(laid.ids) for laid in packs), "seconds": seconds}
    return found


def ends(row: TokenRow) -> range:
    return range(1, len(row.ids) + 1)


def groups_of_tries(data: Data) -> list[TokenRow]:
    """Eight tries at each of some tasks: its prompt, and as much as an expert said, of any words.

    Two tries of three begin with the same turn, as those of one model do.
    """
    random = np.random.default_rng(0)
    rows = []
    for row in [row for batch in data.batches for row in batch][:GROUPS]:
        prompt = row.ids[: int(np.flatnonzero(row.loss)[0])]
        sampled = len(row.ids) - len(prompt)
        first = random.integers(500, 5000, max(1, sampled // 3))
        for attempt in range(TRIES):
            begun = first if attempt % 3 else random.integers(500, 5000, len(first))
            rest = random.integers(500, 5000, int(sampled * random.uniform(0.3, 1.0)))
            ids = np.concatenate([prompt, begun, rest]).astype(np.int32)
            loss = np.arange(len(ids)) >= len(prompt)
            rows.append(TokenRow(ids, loss.astype(np.uint8)))
    return rows


def groups_table(found: dict[str, Any]) -> Iterator[str]:
    """What is computed of groups, beside the bound that their distinct tokens give."""
    shared, whole, distinct = found["shared"], found["whole"], found["distinct"]
    bound = distinct * whole["seconds"] / whole["tokens"]
    yield (
        f"\n{GROUPS} groups of {TRIES} tries, packs of {GROUP_PACK:,} tokens, LoRA: "
        f"{found['rows']:,} tokens in the rows, {distinct:,} of them distinct, "
        f"{shared['tokens']:,} computed ({distinct / shared['tokens']:.1%} of the bound)"
    )
    yield (
        f"{shared['seconds']:.1f} s, {whole['seconds']:.1f} s if every row is computed whole; at "
        f"that speed a token the distinct ones take {bound:.1f} s "
        f"({bound / shared['seconds']:.1%} of the bound)"
    )


def run_trl(arguments: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The same rows by TRL, in as many steps."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    data, training = load(arguments), settings(arguments, kind)
    rows = [row for batch in data.batches for row in batch]
    columns = [
        {"input_ids": ids.tolist(), "assistant_masks": loss.tolist()} for ids, loss, *_ in rows
    ]
    config = SFTConfig(
        output_dir=str(arguments.data_dir / "trl"),
        packing=True,
        max_length=LENGTH,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=-(-best_fit([len(ids) for ids, *_ in rows]) // STEPS),
        num_train_epochs=1,
        learning_rate=training.peak_lr,
        lr_scheduler_type="constant",
        weight_decay=training.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=training.clip,
        gradient_checkpointing=training.gradient_checkpointing,
        bf16=on_gpu(),
        use_cpu=not on_gpu(),
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=base_model(data),
        args=config,
        train_dataset=Dataset.from_list(columns),
        processing_class=AutoTokenizer.from_pretrained(data.base),
        peft_config=lora(training) if kind == "lora" else None,
    )
    started = Clock.start()
    trainer.train()
    assert trainer.state.global_step == STEPS
    return result(trainer.model, data, started)


def lora(training: FinetuneSettings) -> Any:
    """TRL's adapter, of the shape of ours."""
    from peft import LoraConfig

    return LoraConfig(
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def base_model(data: Data) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(data.base, dtype=precision())


def best_fit(lengths: Sequence[int]) -> int:
    """How many packs best-fit-decreasing makes of rows of these lengths."""
    packs: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [index for index, size in enumerate(packs) if size + length <= LENGTH]
        if fitting:
            packs[max(fitting, key=packs.__getitem__)] += length
        else:
            packs.append(length)
    return len(packs)


def result(network: Any, data: Data, started: Clock) -> dict[str, Any]:
    """What was measured; the peak of memory before the losses below can raise it."""
    seconds = time.perf_counter() - started.wall
    processor = time.process_time() - started.processor
    peak = peak_gib()
    trained = sum(int(loss[1:].sum()) for batch in data.batches for _, loss, *_ in batch)
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "trained_tokens_per_s": trained / seconds,
        "peak_gib": peak,
        "seen": held_out_loss(network, data.batches[0]),
        "held_out": held_out_loss(network, data.held_out),
    }


def peak_gib() -> float:
    """The most memory that this process has held, on the GPU where there is one."""
    import torch

    if on_gpu():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def held_out_loss(network: Any, rows: Sequence[TokenRow]) -> float:
    """Mean loss of a trained token, by transformers' own attention and a plain forward pass."""
    import torch

    network.eval()
    network.set_attn_implementation("sdpa")
    losses = []
    with torch.no_grad():
        for ids, loss, *_ in rows:
            sequence = torch.from_numpy(ids.astype(np.int64)).to(network.device)
            trained = torch.from_numpy(loss[1:].astype(bool)).to(network.device)
            logits = network(input_ids=sequence[None]).logits[0, :-1][trained].float()
            losses.append(
                torch.nn.functional.cross_entropy(logits, sequence[1:][trained], reduction="none")
            )
    return float(torch.cat(losses).mean())


def table(
    data: Data, untrained: float, found: dict[tuple[str, str], list[dict[str, Any]]]
) -> Iterator[str]:
    """Markdown; speeds and losses are means, memory the largest."""
    packages = ("torch", "transformers", "peft", "trl", "deepspeed")
    import torch

    device = torch.cuda.get_device_name() if on_gpu() else f"{os.cpu_count()} cores"
    yield f"{platform.machine()}, {device}, {data.base.name}, {precision()}, " + ", ".join(
        f"{name} {version(name)}" for name in packages
    )
    rows = [row for batch in data.batches for row in batch]
    tokens = sum(len(ids) for ids, *_ in rows)
    computed = sum(len(laid.ids) for batch in data.batches for laid in pack(batch, LENGTH))
    trained = sum(int(loss[1:].sum()) for _, loss, *_ in rows)
    yield (
        f"{len(rows)} rows, {tokens:,} tokens, {computed:,} of them distinct within a pack, "
        f"{trained:,} trained on; held-out loss before training {untrained:.3f}\n"
    )
    yield "| | trained tokens/s | each run | processor s | peak GiB | held-out loss, each run |"
    yield "|---|---:|---|---|---:|---|"
    for (kind, trainer), runs in found.items():
        speeds = [run["trained_tokens_per_s"] for run in runs]
        each = ", ".join(f"{speed:.1f}" for speed in speeds)
        peak = max(run["peak_gib"] for run in runs)
        losses = ", ".join(f"{run['held_out']:.4f}" for run in runs)
        mean = statistics.mean(speeds)
        used = ", ".join(f"{run['processor_seconds']:.0f}" for run in runs)
        yield f"| {kind}, {trainer} | {mean:.1f} | {each} | {used} | {peak:.2f} | {losses} |"
    yield ""
    for kind in dict.fromkeys(kind for kind, _ in found):
        theirs, ours = found[kind, "trl"], found[kind, "agentlm"]
        faster = sum(run["seconds"] for run in theirs) / sum(run["seconds"] for run in ours)
        work = sum(r["processor_seconds"] for r in theirs)
        work /= sum(r["processor_seconds"] for r in ours)
        memory = max(r["peak_gib"] for r in ours) / max(r["peak_gib"] for r in theirs)
        yield (
            f"{kind}: {faster:.2f} × the speed ({work:.2f} × by processor time), "
            f"{memory:.2f} × the memory"
        )


RUN: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "untrained": run_untrained,
    "trl-lora": lambda arguments: run_trl(arguments, "lora"),
    "trl-full": lambda arguments: run_trl(arguments, "full"),
    "agentlm-lora": lambda arguments: run_agentlm(arguments, "lora"),
    "agentlm-groups": run_groups,
    "agentlm-full": lambda arguments: run_agentlm(arguments, "full"),
}

if __name__ == "__main__":
    main()
