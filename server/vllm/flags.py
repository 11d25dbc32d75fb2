"""Flags for vLLM: those AgentLM chooses, and the check of those a user gives."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.server.vllm.launch import has_native_bfloat16, kv_cache_bytes, machine_memory
from agentlm.settings import unknown_argument


def chosen(model: Path, seed: int, max_model_len: int | None, *, cpu: bool) -> dict[str, str]:
    """What AgentLM asks of vLLM, by flag; a switch has the empty string."""
    flags = {
        "--model": str(model),
        "--seed": str(seed),
        "--worker-extension-cls": "agentlm.server.vllm.worker.WorkerExtension",
        # One backend serves all constraints of an engine's life. Left to itself, the first schema
        # that xgrammar can't hold would move it to one that knows no structural tags.
        "--structured-outputs-config.backend": "xgrammar",
        "--enable-lora": "",
        "--max-loras": "4",
        "--max-cpu-loras": "32",
        "--max-lora-rank": "64",
    }
    if max_model_len is not None:
        flags["--max-model-len"] = str(max_model_len)
    return flags | (_cpu_flags() if cpu else {})


def _cpu_flags() -> dict[str, str]:
    native = has_native_bfloat16(Path("/proc/cpuinfo").read_text())
    flags = {
        "--dtype": "auto" if native else "float32",
        # Compiling takes minutes at the first start, and vLLM leaves it out with LoRA anyway.
        "--enforce-eager": "",
    }
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        flags["--kv-cache-memory-bytes"] = str(kv_cache_bytes(machine_memory()))
    return flags


def command_line(flags: Mapping[str, str], given: Sequence[str]) -> list[str]:
    """The command line of the flags chosen here that are not given, and of those given."""
    known = {_flag(argument) for argument in given}
    kept = {flag: value for flag, value in flags.items() if flag not in known}
    return [word for pair in kept.items() for word in pair if word] + list(given)


def check_known(given: Sequence[str], known: Collection[str]) -> None:
    """Raises OperatorError for a flag that vLLM has not, and names the nearest."""
    for argument in given:
        # `--structured-outputs-config.backend` is a key inside a flag's JSON object.
        if argument.startswith("--") and _flag(argument).split(".")[0] not in known:
            raise OperatorError(unknown_argument(argument, sorted(known)))


def _flag(argument: str) -> str:
    name, dot, key = argument.split("=")[0].partition(".")
    return name.replace("_", "-") + dot + key
