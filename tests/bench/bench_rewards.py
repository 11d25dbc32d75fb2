"""Learning from rewards beside imitating successes: `python tests/bench/bench_rewards.py`.

A tiny random Llama says eight tokens, and has solved its task if two in five of its letters are
vowels. (By itself it hardly ever ends a turn. Where it could, short answers are the likelier to be
solved, and after a few steps it says nothing any more.) All of its weights are trained: an adapter
can't sharpen what a random head says.

Each turn it is sampled until a number of tokens is reached, eight tries a task, and trained on what
came of them: by `grpo` on all tries, or by `sft` on those that solved theirs (rejection sampling).
So both have sampled as many tokens, take as many optimizer steps, and differ in nothing but the
method. Tries go through the log, and through `agentlm finetune` as anybody runs it.

Prints Markdown: the share of other tasks' tries that are solved after each turn, for each seed. The
learning rates are those that did best of `--rates` with a seed that is not reported, or those that
are given.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from agentlm.finetune.main import run
from agentlm.finetune.settings import FinetuneSettings
from agentlm.finetune.training.model import load
from agentlm.models.registry import Registry
from agentlm.prompt.render import Renderer, Turn
from agentlm.trajectory import Origin, Sampling, Step, Trajectory
from support.finetune_logs import registered, renderer, trajectory, write_log
from support.tiny import tiny_llama

Method = Literal["sft", "grpo"]
ARMS: dict[Method, str] = {"grpo": "grpo, all tries", "sft": "sft, those that solved their task"}
TRIES, LONGEST, HELD_OUT = 8, 8, 64
CHOOSING = 999
"""The seed by which learning rates are chosen."""


class Try(NamedTuple):
    """One answer, as it was sampled."""

    task: str
    ids: list[int]
    log_probabilities: list[float]
    reward: float


class Policy:
    """A registered model that is sampled at temperature 1."""

    def __init__(self, home: Path, name: str, by: Renderer) -> None:
        registry = Registry(home)
        files = registry.resolve(registry.get(name))
        self.name, self.weights = name, files.card.weights_version
        self._by = by
        self._model = load(files.directory, files.adapter, torch.float32).eval()
        self._model.set_attn_implementation("sdpa")

    @torch.no_grad()
    def tries(self, task: str) -> list[Try]:
        """Eight answers."""
        prompt = [i for step in self.prompt(task) for i in step.token_ids or ()]
        end = self._by.end_of_turn_id
        ids = torch.tensor([prompt] * TRIES)
        found, logits = ids, []
        for _ in range(LONGEST):
            logits.append(torch.log_softmax(self._model(input_ids=found).logits[:, -1], -1))
            drawn = torch.multinomial(logits[-1].exp(), 1)
            found = torch.cat([found, drawn], 1)
        answers = found[:, len(prompt) :]
        likely = torch.stack(logits, 1).gather(2, answers[..., None])[..., 0]
        return [
            self._try(task, *it, end) for it in zip(answers.tolist(), likely.tolist(), strict=True)
        ]

    def _try(self, task: str, ids: list[int], likely: list[float], end: int) -> Try:
        length = ids.index(end) + 1 if end in ids else len(ids)
        text = self._by.decode([i for i in ids[:length] if i != end])
        return Try(task, ids[:length], likely[:length], reward(text))

    def _ended(self, ids: Sequence[int]) -> bool:
        return ids[-1] == self._by.end_of_turn_id

    def prompt(self, task: str) -> tuple[Step, ...]:
        return self._by.open([Turn("user", task)])

    def record(self, one: Try, turn: str) -> Trajectory:
        """A try as the server would have logged it."""
        text = self._by.decode([i for i in one.ids if i != self._by.end_of_turn_id])
        step = Step(
            role="assistant",
            origin=Origin.SAMPLED,
            text=text,
            token_ids=tuple(one.ids),
            logprobs=tuple(one.log_probabilities),
            answer=text,
            finish_reason="stop" if self._ended(one.ids) else "length",
            sampling=Sampling(),
            weights_version=self.weights,
            tokenizer_digest=self._by.digest,
        )
        fields = {"environment": "vowels", "task_id": one.task, "source": "rollout"}
        return trajectory(
            [*self.prompt(one.task), step],
            reward=one.reward,
            model=self.name,
            metadata={"turn": turn},
            **fields,
        )


def reward(text: str) -> float:
    """1 if two in five of the letters are vowels."""
    letters = [letter for letter in text.lower() if letter.isalpha()]
    return float(bool(letters) and 5 * sum(it in "aeiou" for it in letters) >= 2 * len(letters))


def sampled(policy: Policy, split: str, tokens: int) -> Iterator[Try]:
    """Tries at ever new tasks, until so many tokens are sampled."""
    numbers = count()
    while tokens > 0:
        for one in policy.tries(f"Number {next(numbers)} of {split}: many vowels."):
            tokens -= len(one.ids)
            yield one


def solved(policy: Policy) -> float:
    """The share of tries at tasks that are not trained on."""
    names = [f"Number {number} of dev: many vowels." for number in range(HELD_OUT)]
    return fmean(one.reward for name in names for one in policy.tries(name))


class Curve(NamedTuple):
    """One arm of one seed."""

    solved: list[float]
    """Before the first turn, and after each."""
    tokens: int
    """That were sampled to learn from."""


def curve(method: Method, seed: int, rate: float, arguments: argparse.Namespace) -> Curve:
    """Turns of one arm, in a data directory of its own."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        model = tiny_llama(home / "tiny", "chatml", seed=seed)
        registered(home, model)
        by = renderer(model)
        policy = Policy(home, "tiny", by)
        shares, tokens = [solved(policy)], 0
        for turn in range(1, arguments.turns + 1):
            name = f"{method}-{turn}"
            tries = list(sampled(policy, f"turn {turn}", arguments.tokens))
            tokens += sum(len(one.ids) for one in tries)
            write_log(home, [policy.record(one, name) for one in tries])
            train(home, policy.name, name, method, seed=seed, lr=rate, max_steps=arguments.steps)
            policy = Policy(home, name, by)
            shares.append(solved(policy))
        return Curve(shares, tokens)


def train(home: Path, base: str, name: str, method: Method, **settings: Any) -> None:
    """`agentlm finetune`, in this process: most of its time is importing."""
    own: dict[str, Any] = {"min_reward": 1.0, "skip_filters": ("near_duplicate",)}
    own |= {"max_per_task": TRIES}
    chosen = FinetuneSettings(
        data_dir=home,
        from_logs=True,
        tags={"turn": name},
        base=base,
        name=name,
        method=method,
        batch_size=64,
        precision="float32",
        full=True,
        **settings,
        **(own if method == "sft" else {}),
    )
    with (home / f"{name}.log").open("w") as log, redirect_stderr(log), redirect_stdout(log):
        run(chosen)


def best_rate(method: Method, arguments: argparse.Namespace) -> float:
    """The learning rate that ends highest with the seed for choosing."""
    if (known := getattr(arguments, f"{method}_rate")) is not None:
        return float(known)
    ends = {rate: curve(method, CHOOSING, rate, arguments) for rate in arguments.rates}
    for rate, found in ends.items():
        print(f"choosing: {method} at {rate:g}: {percent(found.solved)}", file=sys.stderr)
    return max(ends, key=lambda rate: ends[rate].solved[-1])


def percent(shares: Sequence[float]) -> str:
    return " | ".join(f"{share:.1%}" for share in shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=2500, help="sampled a turn")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps a turn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    for method in ARMS:
        parser.add_argument(f"--{method}-rate", type=float, help="if it is known")
    arguments = parser.parse_args()
    os.environ["WANDB_MODE"] = "disabled"
    rates = {method: best_rate(method, arguments) for method in ARMS}
    turns = " | ".join(f"turn {turn}" for turn in range(1, arguments.turns + 1))
    print(f"| method | rate | seed | sampled tokens | before | {turns} |")
    print("|---" * (5 + arguments.turns) + "|")
    for seed in arguments.seeds:
        for method, label in ARMS.items():
            found = curve(method, seed, rates[method], arguments)
            cells = f"{label} | {rates[method]:g} | {seed} | {found.tokens:,}"
            print(f"| {cells} | {percent(found.solved)} |", flush=True)


if __name__ == "__main__":
    main()
