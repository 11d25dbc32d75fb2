"""The environment that vLLM reads, and the libraries that its processes are started with.

vLLM spawns its processes: each is a fresh `exec` that takes environment and preloaded libraries
from here, so the server itself need not be started twice. What the user has set wins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, MutableMapping
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

FEW_CORES = 4


def prepare_environment(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set what vLLM reads when it is imported, so before it is."""
    for name, value in defaults(os.sched_getaffinity(0)).items():
        environ.setdefault(name, value)


def defaults(cores: Collection[int]) -> dict[str, str]:
    """The variables for a machine on which this process may use `cores`."""
    variables = {
        # At INFO a start prints 60 lines, at WARNING one line for every tensor that is converted.
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_NO_USAGE_STATS": "1",
        # Fork would copy the server's threads and sockets into the engine.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if len(cores) <= FEW_CORES:
        # vLLM would keep one of them back for its own process: half of a machine with two.
        variables["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, sorted(cores)))
    return variables


def fast_libraries(prefix: Path = Path(sys.prefix)) -> list[str]:
    """Allocator and OpenMP that speed up a CPU engine by a third, as far as they are installed."""
    allocator = find_library("tcmalloc_minimal")
    openmp = prefix / "lib" / "libiomp5.so"
    return [*([allocator] if allocator else []), *([str(openmp)] if openmp.exists() else [])]


@contextmanager
def process_environment(*, cpu: bool) -> Iterator[None]:
    """Variables for the processes that vLLM starts meanwhile, and for no other program's."""
    libraries = fast_libraries() if cpu else []
    variables = {
        # Libraries that vLLM imports warn of each other by the dozen.
        "PYTHONWARNINGS": "ignore",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        **({"LD_PRELOAD": ":".join(libraries)} if libraries else {}),
    }
    added = variables.keys() - os.environ.keys()
    os.environ |= {name: variables[name] for name in added}
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def kv_cache_bytes(memory: int) -> int:
    """Room for keys and values on a machine with `memory` bytes: a quarter, at most 4 GiB."""
    return min(4 << 30, memory // 4)


def machine_memory() -> int:
    """Bytes of memory of this machine, or of its container if that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return physical if text == "max" else min(physical, int(text))


def has_native_bfloat16(cpuinfo: str) -> bool:
    """Whether the processor of this `/proc/cpuinfo` computes in bfloat16 itself."""
    flags = set(cpuinfo.split())
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
