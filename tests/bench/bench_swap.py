"""What promoting a model costs those who are being answered: `python tests/bench/bench_swap.py`.

Several clients stream answers from the alias `production` without a pause, while it is pointed to
another adapter, and to other full weights, again and again. Prints Markdown: requests sent and
failed, the longest time in which no client got a token, and how long each promotion took.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from openai import AsyncOpenAI, OpenAIError
from safetensors.numpy import save_file

from agentlm.models.aliases import Aliases, Promotion
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles, Registry

BASE = "smollm2-135m"
ALIAS = "production"
CLIENTS = 4


@dataclass
class Traffic:
    """What the clients saw."""

    url: str
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    """When each token came, of whichever client."""
    answered: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """Set when a model has begun to answer."""

    async def ask(self, client: AsyncOpenAI, number: int) -> None:
        """Stream one answer."""
        self.sent += 1
        question: Any = [{"role": "user", "content": f"Tell me about the number {number}."}]
        try:
            stream: Any = await client.chat.completions.create(
                model=ALIAS, messages=question, max_tokens=24, stream=True, temperature=0
            )
            finish = None
            async for chunk in stream:
                self.tokens.append(time.monotonic())
                self.answered[chunk.model].set()
                finish = chunk.choices[0].finish_reason or finish
            if finish is None:
                self.failures.append("a stream that did not end")
        except OpenAIError as error:
            self.failures.append(str(error))

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Ask without a pause meanwhile."""
        end = asyncio.Event()

        async def keep_asking(first: int) -> None:
            async with AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0) as it:
                while not end.is_set():
                    await self.ask(it, first + self.sent)

        asking = [asyncio.create_task(keep_asking(1000 * n)) for n in range(CLIENTS)]
        await asyncio.sleep(6)
        try:
            yield
            await asyncio.sleep(6)
        finally:
            end.set()
            await asyncio.gather(*asking)

    def longest_gap(self) -> float:
        """Seconds in which nobody got a token."""
        return max(late - early for early, late in pairwise(sorted(self.tokens)))


async def promote(url: str, data_dir: Path, name: str) -> float:
    """As `agentlm models promote NAME --publish URL` does; returns the seconds it took."""
    Aliases(data_dir).add(ALIAS, Promotion(card=name, forced="a benchmark"))
    begun = time.monotonic()
    async with httpx.AsyncClient(timeout=600) as client:
        answer = await client.post(f"{url}/v1/models", json={"name": ALIAS})
    answer.raise_for_status()
    return time.monotonic() - begun


async def measure(url: str, data_dir: Path, what: str, names: Sequence[str]) -> str:
    """Promote each model under traffic; a row of the table."""
    traffic = Traffic(url)
    took = []
    async with traffic.going_on():
        for name in names:
            traffic.answered.clear()
            took.append(await promote(url, data_dir, name))
            await traffic.answered[name].wait()
    for failure in set(traffic.failures):
        print(f"failed: {failure}", file=sys.stderr)
    each = f"{statistics.median(took):.2f} ({max(took):.2f})" if took else ""
    cells = [what, len(names), traffic.sent, len(traffic.failures)]
    return "| " + " | ".join(map(str, [*cells, f"{traffic.longest_gap():.2f}", each])) + " |"


def adapter(directory: Path, base: ModelFiles, seed: int) -> Path:
    """A LoRA adapter in PEFT's format, of random numbers."""
    directory.mkdir()
    config = json.loads((base.directory / "config.json").read_text())
    width, rank = config["hidden_size"], 16
    peft = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"]}
    (directory / "adapter_config.json").write_text(json.dumps(peft))
    generator = np.random.default_rng(seed)
    prefix = "base_model.model.model.layers"
    tensors = {
        f"{prefix}.{layer}.self_attn.q_proj.lora_{side}.weight": 0.01
        * generator.standard_normal(shape, np.float32)
        for layer in range(config["num_hidden_layers"])
        for side, shape in {"A": (rank, width), "B": (width, rank)}.items()
    }
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


def register(data_dir: Path) -> None:
    """Two adapters of the base, and two copies of all its weights."""
    registry = Registry(data_dir)
    base = registry.resolve(registry.get(BASE))
    for seed in (1, 2):
        path = adapter(data_dir / f"adapter-{seed}", base, seed)
        fields = {"name": f"adapter-{seed}", "base": BASE, "adapter": str(path)}
        registry.add(base.card.model_copy(update=fields))
        copy = shutil.copytree(base.directory, data_dir / f"full-{seed}")
        fields = {"name": f"full-{seed}", "source": "local", "location": str(copy)}
        registry.add(ModelCard(**base.card.model_dump() | fields))


@contextlib.contextmanager
def serving(data_dir: Path) -> Any:
    """`agentlm serve` until the block ends; yields its URL."""
    command = [sys.executable, "-m", "agentlm.cli", "serve", "--model", ALIAS, "--port", "0"]
    command += ["--data-dir", str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        greeting = next(line for line in server.stdout if "is served at" in line)
        try:
            yield greeting.split("is served at ")[1].split(" ")[0]
        finally:
            server.terminate()


async def report(url: str, data_dir: Path, swaps: int) -> None:
    """Print the table."""
    print(f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}; {BASE};")
    print(f"{CLIENTS} clients that stream 24 tokens each, again and again.\n")
    print("| promoted under traffic | times | requests | failed | longest gap, s | took, s (max) |")
    print("|---|---:|---:|---:|---:|---:|")
    adapters = [f"adapter-{1 + n % 2}" for n in range(swaps + 1)]
    full = [f"full-{1 + n % 2}" for n in range(swaps)]
    print(await measure(url, data_dir, "nothing; the base answers", []), flush=True)
    await promote(url, data_dir, adapters[0])
    print(await measure(url, data_dir, "nothing; an adapter answers", []), flush=True)
    print(await measure(url, data_dir, "another adapter", adapters[1:]), flush=True)
    print(await measure(url, data_dir, "full weights", full), flush=True)


def main() -> None:
    """Register, serve, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=4, help="promotions of each kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory)
        register(data_dir)
        Aliases(data_dir).add(ALIAS, Promotion(card=BASE))
        with serving(data_dir) as url:
            asyncio.run(report(url, data_dir, arguments.swaps))


if __name__ == "__main__":
    main()
