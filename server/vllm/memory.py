"""How much memory a model needs on a CPU, from its files and the machine, before vLLM starts.

An engine needs memory for the weights, a cache of keys and values, and libraries. The size of the
cache is chosen here: room for a dozen runs, less if little memory is free, and never less than one
whole context, without which vLLM refuses to start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from agentlm.errors import OperatorError
from agentlm.models.model_files import read_json, weight_files

ROOM = 24_576
"""Tokens in the cache if the memory is free: twelve runs of 2,000, or three whole contexts of the
default model. vLLM takes all of it at its start, used or not."""
BLOCK = 128
"""Tokens that vLLM's cache on a CPU takes and frees at once."""
PROGRAM = 1_600 << 20
"""Bytes of the server itself and vLLM's imports, at their maximum while a model is loaded."""
LEAST_CONTEXT = 512
"""With fewer tokens no agent can do anything."""
UNKNOWN_CACHE = 4 << 30
"""Limit in bytes for a model whose layers don't all cache the same."""
BYTES = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}
_OWN_CACHE = ("kv_lora_rank", "sliding_window", "layer_types", "linear_num_key_heads", "ssm_cfg")
"""Configuration keys of models whose layers cache something other than keys and values of each
token."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The number of bytes that a model needs."""

    weights: int
    context: int
    """Tokens of one whole context."""
    token: int | None
    """Bytes of one token's keys and values; None if the configuration does not say."""

    @classmethod
    def of(cls, model: Path, max_model_len: int | None, number_bytes: int) -> Self:
        """The needs of the model in a directory, with numbers of `number_bytes` bytes."""
        config = read_json(model / "config.json")
        text = config.get("text_config", config)
        longest = int(text.get("max_position_embeddings") or LEAST_CONTEXT)
        kept = str(text.get("dtype") or text.get("torch_dtype") or config.get("dtype"))
        files = sum(file.stat().st_size for file in weight_files(model))
        if "quantization_config" not in config:
            files = files * number_bytes // BYTES.get(kept, 4)
        return cls(files, max_model_len or longest, _token_bytes(text, number_bytes))

    def cache(self, free: int) -> int:
        """Bytes for keys and values if `free` bytes are free for the whole engine."""
        left = free - self.weights - PROGRAM
        if self.token is None:
            return max(256 << 20, min(UNKNOWN_CACHE, left // 2))
        one = _rounded(self.context) * self.token
        return max(one, min(_rounded(ROOM) * self.token, left // 2))

    def check(self, free: int) -> None:
        """Raises OperatorError if `free` bytes are too few, with the amount that would be
        enough."""
        left = free - self.weights - PROGRAM
        if self.token is None or left >= (cache := _rounded(self.context) * self.token):
            return
        fits = max(0, left // self.token // BLOCK - 1) * BLOCK
        advice = (
            f"shorten the context by --max-model-len {fits}"
            if fits >= LEAST_CONTEXT
            else "serve a smaller model by --model"
        )
        needed = self.weights + PROGRAM + cache
        raise OperatorError(
            f"not enough memory: {_gib(free)} GiB are free and {_gib(needed)} are needed, "
            f"{_gib(self.weights)} for the weights, {_gib(PROGRAM)} for programs, {_gib(cache)} "
            f"for a context of {self.context:,} tokens; end other programs, or {advice}"
        )


def check_memory(model: Path, max_model_len: int | None, arguments: Sequence[str]) -> None:
    """Raises OperatorError if too little memory is free for a CPU engine of the model.

    A cache size that the user has set is not checked.
    """
    if not sets_cache_size(arguments, os.environ):
        Needs.of(model, max_model_len, number_bytes(model, arguments)).check(free_memory())


def cache_bytes(model: Path, max_model_len: int | None, arguments: Sequence[str]) -> int:
    """Bytes for keys and values that suit the model and the memory that is free now."""
    return Needs.of(model, max_model_len, number_bytes(model, arguments)).cache(free_memory())


def sets_cache_size(arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether the user has set the size of the cache."""
    return "VLLM_CPU_KVCACHE_SPACE" in environ or bool(_value(arguments, "--kv-cache-memory-bytes"))


def number_bytes(model: Path, arguments: Sequence[str]) -> int:
    """Bytes of a number in a CPU engine, by the user's choice and the processor's abilities."""
    dtype = _value(arguments, "--dtype")
    if dtype in BYTES:
        return BYTES[dtype]
    config = read_json(model / "config.json")
    kept = str(config.get("dtype") or config.get("torch_dtype"))
    return BYTES.get(kept, 2) if has_native_bfloat16() or dtype == "auto" else 4


def has_native_bfloat16(cpuinfo: str | None = None) -> bool:
    """Whether the processor of this `/proc/cpuinfo`, or of this machine, computes in bfloat16."""
    text = Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo
    return not set(text.split()).isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def free_memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int:
    """Bytes that a program can use, on this machine or in its container if that has less."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    limit = cgroup / "memory.max"
    if not limit.is_file() or (most := limit.read_text().strip()) == "max":
        return free
    # Before it kills for memory, the kernel drops pages of files that were not read recently.
    stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    used = int((cgroup / "memory.current").read_text()) - int(stat["inactive_file"])
    return max(0, min(free, int(most) - used))


def _token_bytes(text: Mapping[str, Any], number_bytes: int) -> int | None:
    if any(text.get(key) for key in _OWN_CACHE):
        return None
    try:
        heads = int(text["num_attention_heads"])
        width = int(text.get("head_dim") or text["hidden_size"] // heads)
        pairs = int(text.get("num_key_value_heads") or heads) * int(text["num_hidden_layers"])
    except (KeyError, TypeError, ValueError):
        return None
    return 2 * pairs * width * number_bytes


def _rounded(tokens: int) -> int:
    """How many tokens vLLM's cache needs in order to hold `tokens`: whole blocks, and a reserved
    one."""
    return (-(-tokens // BLOCK) + 1) * BLOCK


def _value(arguments: Sequence[str], flag: str) -> str | None:
    """The last value of a flag on a command line."""
    value = None
    for argument, following in pairwise([*arguments, ""]):
        name, equals, rest = argument.partition("=")
        if name.replace("_", "-") == flag:
            value = rest if equals else following
    return value


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f}"
