"""tcmalloc for the tensors of a run on a CPU.

A training step frees and takes blocks of some megabytes in changing sizes. glibc's allocator leaves
holes among those that stay: a LoRA step of SmolLM2 held half as much again as it used. An allocator
can't be changed in a process that runs, so the program starts itself once more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from ctypes.util import find_library

PRELOAD = "LD_PRELOAD"


def restart_with_tcmalloc(argv: Sequence[str]) -> None:
    """Start this program again with tcmalloc if there is one; returns if not, or if it has it.

    Also returns if `argv` is not what this process was called with: then it is another program.
    """
    own = bool(argv) and list(argv) == sys.argv[-len(argv) :]
    if not own or PRELOAD in os.environ:
        return
    if variables := preloaded():
        os.environ |= variables
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def preloaded() -> dict[str, str]:
    """The variables of a process with tcmalloc; none if it is not installed."""
    library = find_library("tcmalloc_minimal")
    return {PRELOAD: library} if library else {}
