"""vLLM's flags: those that AgentLM chooses, and the check of those that a user sets."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.server.vllm.memory import cache_bytes, has_native_bfloat16, sets_cache_size
from agentlm.settings import unknown_argument


def chosen(
    model: Path, seed: int, max_model_len: int | None, arguments: Sequence[str] = (), *, cpu: bool
) -> dict[str, str]:
    """The flags that AgentLM sets besides the user's `arguments`.

    A switch has an empty string as its value.
    """
    flags = {
        "--model": str(model),
        "--seed": str(seed),
        "--worker-extension-cls": "agentlm.server.vllm.worker.WorkerExtension",
        # One backend serves all constraints of an engine's life. By default, the first schema that
        # xgrammar can't enforce would switch to a backend without structural tags.
        "--structured-outputs-config.backend": "xgrammar",
        "--enable-lora": "",
        "--max-loras": "4",
        "--max-cpu-loras": "32",
        "--max-lora-rank": "64",
        # Its progress bars would break up the lines of the start.
        "--no-use-tqdm-on-load": "",
    }
    if max_model_len is not None:
        flags["--max-model-len"] = str(max_model_len)
    if cpu and not sets_cache_size(arguments, os.environ):
        flags["--kv-cache-memory-bytes"] = str(cache_bytes(model, max_model_len, arguments))
    return flags | (_cpu_flags() if cpu else {})


def _cpu_flags() -> dict[str, str]:
    return {
        "--dtype": "auto" if has_native_bfloat16() else "float32",
        # Compiling takes minutes at the first start, and vLLM omits it with LoRA anyway.
        "--enforce-eager": "",
    }


def command_line(flags: Mapping[str, str], user_flags: Sequence[str]) -> list[str]:
    """A command line of the chosen flags that the user doesn't set, and the user's."""
    known = {_flag(argument) for argument in user_flags}
    kept = {flag: value for flag, value in flags.items() if flag not in known}
    return [word for pair in kept.items() for word in pair if word] + list(user_flags)


def check_known(user_flags: Sequence[str], known: Collection[str]) -> None:
    """Raises OperatorError for a flag that vLLM doesn't have, with the nearest known one."""
    for argument in user_flags:
        # `--structured-outputs-config.backend` is a key inside a flag's JSON object.
        if argument.startswith("--") and _flag(argument).split(".")[0] not in known:
            raise OperatorError(unknown_argument(argument, sorted(known)))


def check_written(user_flags: Sequence[str]) -> None:
    """Like `check_known`, by vLLM's source code, because importing vLLM takes a quarter of a
    minute.

    Raises ModuleNotFoundError if vLLM is not installed.
    """
    spec = find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'vllm'", name="vllm")
    check_known(user_flags, written(Path(spec.submodule_search_locations[0])))


def written(vllm: Path) -> set[str]:
    """The flags in vLLM's source code, including those that turn off a switch."""
    texts = [(vllm / name).read_text() for name in _FLAG_SOURCES]
    flags = {flag for text in texts for flag in re.findall(r"[\"'](--[a-z0-9-]+)[\"']", text)}
    return flags | {flag.replace("--", "--no-", 1) for flag in flags}


_FLAG_SOURCES = ("engine/arg_utils.py", "utils/argparse_utils.py")


def _flag(argument: str) -> str:
    name, dot, key = argument.split("=")[0].partition(".")
    return name.replace("_", "-") + dot + key
