"""Flags for vLLM: those AgentLM chooses, and the check of those a user gives."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.server.launch import has_native_bfloat16, kv_cache_bytes, machine_memory
from agentlm.settings import unknown_argument


def chosen(model: Path, seed: int, max_model_len: int | None, *, cpu: bool) -> list[str]:
    """What AgentLM asks of vLLM; flags that follow these win."""
    flags = {
        "--model": str(model),
        "--seed": str(seed),
        "--worker-extension-cls": "agentlm.server.vllm_worker.WorkerExtension",
        # One backend serves all constraints of an engine's life. Left to itself, the first schema
        # that xgrammar can't hold would move it to one that knows no structural tags.
        "--structured-outputs-config.backend": "xgrammar",
        "--max-loras": "4",
        "--max-cpu-loras": "32",
        "--max-lora-rank": "64",
    }
    if max_model_len is not None:
        flags["--max-model-len"] = str(max_model_len)
    switches = ["--enable-lora"]
    if cpu:
        flags |= _cpu_flags()
        # Compiling takes minutes at the first start and is off with LoRA anyway.
        switches.append("--enforce-eager")
    return [*switches, *(word for pair in flags.items() for word in pair)]


def _cpu_flags() -> dict[str, str]:
    native = has_native_bfloat16(Path("/proc/cpuinfo").read_text())
    flags = {"--dtype": "auto" if native else "float32"}
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        flags["--kv-cache-memory-bytes"] = str(kv_cache_bytes(machine_memory()))
    return flags


def check_known(arguments: Sequence[str], known: Collection[str]) -> None:
    """Raises OperatorError for a flag that vLLM has not, and names the nearest."""
    for argument in arguments:
        # `--structured-outputs-config.backend=…` is a key inside a flag's JSON object.
        flag = argument.split("=")[0].split(".")[0].replace("_", "-")
        if argument.startswith("--") and flag not in known:
            raise OperatorError(unknown_argument(argument, sorted(known)))
