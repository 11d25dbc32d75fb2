"""Flags for vLLM: those AgentLM chooses, and the check of those a user gives."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.server.vllm.memory import cache_bytes, cache_is_given, has_native_bfloat16
from agentlm.settings import unknown_argument


def chosen(
    model: Path, seed: int, max_model_len: int | None, arguments: Sequence[str] = (), *, cpu: bool
) -> dict[str, str]:
    """What AgentLM asks of vLLM beside the user's `arguments`, by flag.

    A switch has the empty string.
    """
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
        # Its bars would stand between the lines of the start.
        "--no-use-tqdm-on-load": "",
    }
    if max_model_len is not None:
        flags["--max-model-len"] = str(max_model_len)
    if cpu and not cache_is_given(arguments, os.environ):
        flags["--kv-cache-memory-bytes"] = str(cache_bytes(model, max_model_len, arguments))
    return flags | (_cpu_flags() if cpu else {})


def _cpu_flags() -> dict[str, str]:
    return {
        "--dtype": "auto" if has_native_bfloat16() else "float32",
        # Compiling takes minutes at the first start, and vLLM leaves it out with LoRA anyway.
        "--enforce-eager": "",
    }


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


def check_written(given: Sequence[str]) -> None:
    """As `check_known`, by vLLM's own source: to import it takes a quarter of a minute.

    Raises ModuleNotFoundError if vLLM is not installed.
    """
    spec = find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'vllm'", name="vllm")
    check_known(given, written(Path(spec.submodule_search_locations[0])))


def written(vllm: Path) -> set[str]:
    """The flags that stand in vLLM's source, with those that turn a switch off."""
    texts = [(vllm / name).read_text() for name in _FLAG_SOURCES]
    flags = {flag for text in texts for flag in re.findall(r"[\"'](--[a-z0-9-]+)[\"']", text)}
    return flags | {flag.replace("--", "--no-", 1) for flag in flags}


_FLAG_SOURCES = ("engine/arg_utils.py", "utils/argparse_utils.py")


def _flag(argument: str) -> str:
    name, dot, key = argument.split("=")[0].partition(".")
    return name.replace("_", "-") + dot + key
