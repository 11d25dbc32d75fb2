"""Directories for one process under the system's temporary directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir


def scratch(kind: str) -> TemporaryDirectory[str]:
    """A fresh directory of this process. Those of the same kind that killed processes left go."""
    for path in Path(gettempdir()).glob(f"agentlm-{kind}-*"):
        process = path.name.removeprefix(f"agentlm-{kind}-").partition("-")[0]
        if not Path("/proc", process).exists():
            shutil.rmtree(path, ignore_errors=True)
    prefix = f"agentlm-{kind}-{os.getpid()}-"
    return TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
