"""tcmalloc for the tensors of a run on a CPU.

A training step frees and takes blocks of some megabytes in changing sizes. glibc's allocator leaves
holes between long-lived blocks: a LoRA step of SmolLM2 held half as much again as it used. A
running process can't change its allocator, so the program starts itself once more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from ctypes.util import find_library

PRELOAD = "LD_PRELOAD"


def restart_with_tcmalloc(argv: Sequence[str]) -> None:
    """Start this program again with tcmalloc. Returns if there is none, or if it is in use already.

    Also returns if `argv` is not this process's command line, since then it is another program.
    """
    own = bool(argv) and list(argv) == sys.argv[-len(argv) :]
    if not own or PRELOAD in os.environ:
        return
    if variables := preloaded():
        os.environ |= variables
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def preloaded() -> dict[str, str]:
    """Variables for a process with tcmalloc; empty if it is not installed."""
    library = find_library("tcmalloc_minimal")
    return {PRELOAD: library} if library else {}
