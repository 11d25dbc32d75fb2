"""How a process that has trained ends."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process at once, after all that was to be done at its end.

    Gloo's threads may still be about to free a tensor, which asks for Python's lock. Before Python
    3.14 a thread that does so while the interpreter is taken down is unwound through C++, and a
    finished training ends with SIGABRT (github.com/pytorch/pytorch/pull/179291). Destroying the
    process groups first does not help: DeepSpeed's ZeRO keeps references to them, and with them
    their threads. So the interpreter is not taken down.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
