"""`agentlm serve`, of a real model, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(data_dir: Path, model: str) -> Iterator[str]:
    """A server's URL, once it answers."""
    command = [sys.executable, "-m", "agentlm.cli", "serve", "--model", model, "--port", "0"]
    command += ["--data-dir", str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = next((line for line in server.stdout if "is served at " in line), "")
            assert line, "the server ended before it answered"
            yield line.split("is served at ")[1].split()[0]
        finally:
            server.send_signal(signal.SIGTERM)
