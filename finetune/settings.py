"""The settings of a fine-tuning run: flags, environment variables, and recipe keys.

A **recipe** is a YAML file of these keys (`--config FILE`, or the name of one in `recipes/`); the
command line overrides it. `Selecting`, `Reading`, `Filtering`, `Mixing`, `Rewarding`, `Training`
and `GateRule` are the concerns; functions take the one they need.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from agentlm.errors import OperatorError
from agentlm.exchange.files import MOST_MALFORMED
from agentlm.exchange.keys import Columns
from agentlm.finetune.deepspeed_file import read_deepspeed
from agentlm.finetune.gate import GateRule
from agentlm.install import install
from agentlm.settings import Settings
from agentlm.store import Conditions, Selection
from agentlm.trajectory import Outcome

DEFAULT_BASE = "smollm2-135m"
"""The base if none is named and the log's rows came from no model whose weights are here."""
Method = Literal["sft", "dpo", "kto", "grpo"]
Scrubbing = Literal["none", "secrets", "personal"]
"""`personal` covers personal data as well as secrets."""
SkippableFilter = Literal[
    "no_answer",
    "ends_in_error",
    "repeated_action",
    "claimed_change",
    "unrelated_thought",
    "raw_escapes",
    "evaluation_task",
    "template_mismatch",
    "near_duplicate",
]
"""Filters that this setting can turn off. The others have their own settings."""


GeneralLoss = Literal["imitate", "distill"]


class Selecting(Settings, Conditions):
    """Which rows of the log are trained on."""

    min_reward: float = Field(default=1.0, ge=0, le=1)
    """Train on what was rewarded at least this much, by an environment or by feedback."""
    outcomes: tuple[Outcome, ...] = (Outcome.COMPLETED, Outcome.REQUIRES_ACTION, Outcome.LIMIT)
    """Only trajectories with these outcomes; methods that learn from failures take `invalid` ones
    too."""
    method: Method = "sft"
    """sft imitates what was rewarded; grpo learns from the rewards of many tries at one task, dpo
    from a success beside a failure, kto from answers with a thumb up or down."""

    @property
    def endings(self) -> tuple[Outcome, ...]:
        """The outcomes that count. With rewards, unreadable turns are failures to learn from."""
        if self.method == "sft" or "outcomes" in self.model_fields_set:
            return self.outcomes
        return (*self.outcomes, Outcome.INVALID)

    def requested(self) -> Selection:
        """The requested rows, before anything is judged."""
        judged = {"min_reward": None, "outcomes": ()}
        return Selection(**(self.conditions() | judged), may_train_only=False)


class Reading(Settings):
    """How files are read; docs/data-formats.md shows what they may hold."""

    columns: dict[str, str] = {}
    """What files call the keys of a format, as KEY=NAME (messages=conv,tools=functions_json)."""
    ignore_keys: tuple[str, ...] = ()
    """Keys of rows and turns that are passed over, though they could change what is learnt."""
    max_malformed: float = Field(default=MOST_MALFORMED, ge=0, le=1)
    """Share of a file's rows that may be unreadable; if more are, nothing is trained."""

    def read_columns(self) -> Columns:
        """The names of a file's keys. Raises OperatorError for a key that no format has."""
        return Columns(self.columns, self.ignore_keys)


class Filtering(Settings):
    """What is left out of the selection, beyond what a reward says."""

    skip_filters: tuple[SkippableFilter, ...] = ()
    """Names of filters not to apply; the report says what each one left out."""
    max_per_task: int | None = Field(default=4, ge=1)
    """Rows of one task; more of the same make the model worse at the others."""
    max_per_owner: int | None = Field(default=None, ge=1)
    """Rows that one owner may contribute."""
    leak_check: tuple[Path, ...] = ()
    """Files of evaluation tasks (.jsonl, .json, or text by lines) that no row may give away."""
    scrub: Scrubbing = "secrets"
    """What is replaced by a word for its kind: keys and passwords, or personal data too."""
    judge_url: str | None = None
    """OpenAI-compatible server of a model that marks each selected trajectory."""
    judge_model: str | None = None
    """Name of the judge's model on that server."""
    judge_api_key: str | None = None
    """Key for the server given by --judge-url."""
    judge_least: float = Field(default=0.5, ge=0, le=1)
    """The mark below which a trajectory is left out."""


class Mixing(Settings):
    """What is trained on beside the agent rows."""

    general: tuple[str, ...] = ()
    """General data: FILE, hub data set or `log` (the log's plain chats); after `rehearse:` its
    questions are answered by the base model on the --publish server. Each can have a =WEIGHT."""
    eta: float = Field(default=0.2, gt=0, le=1)
    """Share of agent rows in the mixture, if there is general data."""
    general_loss: GeneralLoss = "imitate"
    """What is learned from general rows: imitate them, or distill: stay as close to the base's own
    probabilities of all next tokens as an adapter can. Then the rows need not be the base's own."""
    mix_by: Literal["rows", "tokens"] = "rows"
    """What shares are measured in."""
    no_tool_share: float = Field(default=0.0, ge=0, le=1)
    """Part of the general rows that are shown with tools that don't fit, and answered without."""


Precision = Literal["auto", "bfloat16", "float32"]
Quantization = Literal["none", "nf4"]


class Rewarding(Settings):
    """How rewards are learned from."""

    beta: float = Field(default=5.0, gt=0)
    """dpo and kto: how soon a row is far enough from where it was, per token."""
    ratio_cap: float = Field(default=2.0, ge=1)
    """grpo: the most that a token can weigh if it has become likelier since it was sampled."""
    max_staleness: int = Field(default=1, ge=0)
    """grpo: how many trainings may lie between the weights that sampled a row and the base."""

    min_effective: float = Field(default=0.3, ge=0, le=1)
    """grpo: end the training when the effective sample size of a step is a smaller part of its
    tokens: the rows have become too old for the model."""


class Measuring(Settings):
    """The loss on rows that are not trained on."""

    eval_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the agent rows to hold out, by whole tasks and conversations."""
    eval_data: tuple[str, ...] = ()
    """Files of rows to measure on, beside those held out or instead; what is also trained on is
    left out of them."""
    eval_every: int = Field(default=10, ge=1)
    """Steps between two measurements; the last step is always measured."""
    patience: int | None = Field(default=None, ge=1)
    """End the training after this many measurements in a row without a new best one."""

    @property
    def holds_out(self) -> bool:
        """Whether there is anything to measure on."""
        return self.eval_share > 0 or bool(self.eval_data)


class Training(Rewarding, Measuring):
    """How the weights are changed. The defaults suit a small model on a laptop."""

    lora: bool = False
    """Train a LoRA adapter (the default)."""
    full: bool = False
    """Train all weights."""
    lora_rank: int = Field(default=16, ge=1)
    """Rank of the adapter's matrices."""
    lora_alpha: int = Field(default=32, ge=1)
    """The adapter's output is multiplied by alpha / rank."""
    lora_targets: tuple[str, ...] = ()
    """Matrices that the adapter changes, by the ends of their names (q_proj,v_proj); by default all
    but the output head."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that each step leaves out."""
    quantize: Quantization = "none"
    """nf4 keeps the base's matrices in 4 bits while the adapter is trained (QLoRA). What is saved
    is an adapter like any other."""
    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate; by default 2e-4 for LoRA and 5e-5 for all weights."""
    epochs: float = Field(default=3.0, gt=0)
    """Passes over the agent rows."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps, however many passes that makes."""
    batch_size: int = Field(default=8, ge=1)
    """Rows per optimizer step, all processes together."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Fill each step with rows up to this many tokens instead of counting rows."""
    max_length: int = Field(default=4096, ge=2)
    """Tokens of the longest row, if the model allows so many; longer ones are cut."""
    pack_tokens: int = Field(default=2048, ge=2)
    """Tokens computed at once, which decides how much memory is needed."""
    share_prefixes: bool = True
    """Compute what rows of a pack have in common once."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: a third more work, a fraction of the memory."""
    precision: Precision = "auto"
    """What the model is computed in; auto is bfloat16 where the hardware has units for it (a GPU, a
    CPU with AMX). The optimizer's weights are float32 in either case."""
    warmup: float = Field(default=0.02, ge=0, le=1)
    """Part of the steps over which the learning rate rises; then it falls by a cosine."""
    weight_decay: float = Field(default=0.1, ge=0)
    """AdamW's decay of matrices."""
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    """AdamW with a state of 32 bits, or bitsandbytes' with one of 8."""
    clip: float = Field(default=1.0, gt=0)
    """Bound on the norm of the gradient."""
    zero_stage: int | None = Field(default=None, ge=0, le=3)
    """DeepSpeed ZeRO: what is split among processes; by default 0 for one process, 2 for more."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What ZeRO keeps in the CPU's memory: the optimizer's state, or the parameters too."""
    deepspeed: Path | None = None
    """DeepSpeed's own configuration file (JSON), merged into what these settings make."""
    save_every: int = Field(default=25, ge=1)
    """Steps between checkpoints; a killed run goes on from the last."""
    seed: int = 0
    """Decides the order of rows and the adapter's first weights."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.lora and self.full:
            raise ValueError("--lora and --full exclude each other")
        return self

    @cached_property
    def deepspeed_config(self) -> dict[str, Any]:
        """The settings in the file. Raises OperatorError for one that it may not set."""
        return {} if self.deepspeed is None else read_deepspeed(self.deepspeed, self.optimizer)

    @property
    def chosen_stage(self) -> int | None:
        """The ZeRO stage set by a flag or by the file."""
        stage = self.deepspeed_config.get("zero_optimization", {}).get("stage")
        return self.zero_stage if stage is None else int(stage)

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up."""
        return self.lr or (5e-5 if self.full else 2e-4)


class FinetuneSettings(Selecting, Reading, Filtering, Mixing, Training, GateRule):
    """Train a model's successor: select from the log, filter, tokenise, train, register, publish.

    Example: agentlm finetune --from-logs --max-steps 4 --publish http://localhost:8000

    DeepSpeed's launcher (deepspeed --hostfile hosts --module agentlm.finetune ...) starts it on
    several nodes: --data-dir must then be on a disk that all of them share.
    """

    from_logs: bool = False
    """Train on what the log holds."""
    data: tuple[str, ...] = ()
    """Agent rows from files or hub data sets, beside the log or instead of it."""
    base: str | None = None
    """The model to train; by default the one that most of the selected rows came from, or
    smollm2-135m where that is none whose weights are here (an expert's runs, say)."""
    name: str | None = None
    """Name of the new model; by default BASE-ft1, -ft2, …. An unfinished run of this name goes
    on."""
    publish: str | None = None
    """URL of a running server that is to serve the new model at once."""
    api_key: str | None = None
    """Key for the server given by --publish."""
    thoughts: bool = True
    """Train on turns that begin with a Thought, if the base's do. --no-thoughts trains and serves
    turns without: for rows that act without one."""
    gate: bool = False
    """After publishing, measure the new model beside the one it came from; exit code 1 if the
    gate's rule does not hold."""

    dry_run: bool = False
    """Do two steps on a tiny model of the base's kind, to see that everything is there and works;
    keep nothing."""

    def check(self) -> None:
        """Raise OperatorError for combinations of settings that are wrong."""
        if not self.from_logs and not self.data:
            raise OperatorError("nothing to train on: give --from-logs or --data FILE")
        if (self.judge_url is None) != (self.judge_model is None):
            raise OperatorError("--judge-url and --judge-model go together")
        if any(text.startswith("rehearse:") for text in self.general) and not self.publish:
            raise OperatorError(
                "--general rehearse:… needs --publish URL: where the base model runs"
            )
        if self.patience is not None and not self.holds_out:
            raise OperatorError("--patience needs --eval-share or --eval-data: rows to measure on")
        if self.gate and not self.publish:
            raise OperatorError("--gate needs --publish URL: where the new model runs")
        if self.gate and self.full and not self.gate_base_url:
            raise OperatorError(
                "--gate with --full needs --gate-base-url URL: full weights take the place of "
                "the model that they are measured beside"
            )
        self._check_general_loss()
        self._check_method()
        self._check_trainer()
        self.read_columns()

    def _check_general_loss(self) -> None:
        """Raise OperatorError if there is nothing to distill, or nothing to distill from."""
        if self.general_loss == "distill" and not self.general:
            raise OperatorError("--general-loss distill needs --general FILE: rows to distill on")
        if self.general_loss == "distill" and self.full:
            raise OperatorError(
                "--general-loss distill is for --lora: with --full the base is gone after a step"
            )

    def _check_method(self) -> None:
        """Raise OperatorError for a setting that the method would ignore."""
        for name, methods in _OF_METHODS.items():
            default = type(self).model_fields[name].get_default()
            if self.method not in methods and getattr(self, name) != default:
                flag = f"--{name.replace('_', '-')}"
                raise OperatorError(
                    f"{flag} is for --method {' and '.join(methods)}, not for {self.method}"
                )

    def _check_trainer(self) -> None:
        """Raise OperatorError for adapter settings without an adapter, or for repeated ones."""
        for name in ADAPTER:
            if self.full and getattr(self, name) != type(self).model_fields[name].get_default():
                raise OperatorError(f"--{name.replace('_', '-')} is for --lora, not for --full")
        zero = self.deepspeed_config.get("zero_optimization", {})
        if self.zero_stage is not None and zero.get("stage", self.zero_stage) != self.zero_stage:
            raise OperatorError(
                f"--zero-stage {self.zero_stage}, and --deepspeed says {zero['stage']}"
            )
        if self.offload != "none" and any(name.startswith("offload") for name in zero):
            raise OperatorError("--offload, and --deepspeed says what is offloaded: give one")
        self._check_bits(zero)

    def _check_bits(self, zero: dict[str, Any]) -> None:
        """Raise OperatorError for fewer bits where they can't be, or without their library. `zero`
        is that section of DeepSpeed's file."""
        if self.quantize != "none":
            flag = f"--quantize {self.quantize}"
            if self.full:
                raise OperatorError(f"{flag} is for --lora, not for --full")
            if self.chosen_stage == 3 or self.offload == "all" or "offload_param" in zero:
                raise OperatorError(
                    f"{flag} with ZeRO-3 or --offload all: DeepSpeed can't split or move matrices "
                    "of 4 bits; --zero-stage 2 splits what is trained"
                )
            _check_bitsandbytes(flag)
        if self.optimizer == "adamw8bit":
            flag = f"--optimizer {self.optimizer}"
            if self.offload != "none" or any(name.startswith("offload") for name in zero):
                raise OperatorError(
                    f"{flag} with --offload: give one, either 8 bits beside the weights or 32 in "
                    "the CPU's memory"
                )
            _check_bitsandbytes(flag)

    def recipe(self) -> dict[str, object]:
        """Everything that decides the weights, for the run's directory."""
        keys = {"api_key", "judge_api_key"}
        others = keys | {"data_dir", "store_url", "publish", "name", "gate", "dry_run"}
        whole = self.model_dump(mode="json", exclude=others | set(GateRule.model_fields))
        if self.deepspeed is not None:
            whole["deepspeed"] = self.deepspeed_config
        plain = type(self).model_construct().model_dump(mode="json", include=set(LATER))
        return {name: value for name, value in whole.items() if plain.get(name, _NONE) != value}


def _check_bitsandbytes(flag: str) -> None:
    if find_spec("bitsandbytes") is None:
        raise OperatorError(f"{flag} needs the package bitsandbytes: {install('bitsandbytes')}")


ADAPTER = ("lora_rank", "lora_alpha", "lora_targets", "lora_dropout")
"""The settings of an adapter. One that goes on keeps its own."""
_NONE = object()
LATER = frozenset(
    """
    method beta ratio_cap max_staleness min_effective lora_targets lora_dropout deepspeed
    general_loss quantize optimizer
    """.split()
)
"""Settings that a recipe has only if they differ from their defaults, so that runs which began
before they existed can continue."""
_OF_METHODS: dict[str, tuple[Method, ...]] = {
    "beta": ("dpo", "kto"),
    "ratio_cap": ("grpo",),
    "max_staleness": ("grpo",),
    "min_effective": ("grpo",),
    "min_reward": ("sft", "dpo", "kto"),
    "max_per_task": ("sft", "dpo", "kto"),
    # The ratios would be of a model that is not complete.
    "lora_dropout": ("sft", "dpo", "kto"),
    # The tries were sampled by the whole weights, and the ratios are to them.
    "quantize": ("sft", "dpo", "kto"),
    "judge_url": ("sft", "dpo", "kto"),
    # A tiny model sampled none of the tries.
    "dry_run": ("sft", "dpo", "kto"),
    "general": ("sft",),
    "eval_share": ("sft",),
    "eval_data": ("sft",),
}
"""For settings that not all methods read: the methods that do."""
