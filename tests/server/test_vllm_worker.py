"""Processes that live together: none of an engine's may be left when another was killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

Processes = tuple[subprocess.Popen[str], subprocess.Popen[str], subprocess.Popen[str]]

WORKER = """
import sys
from agentlm.server.vllm_worker import WorkerExtension
WorkerExtension().live_with(int(sys.argv[1]), [int(sys.argv[2])])
print("living", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def together() -> Iterator[Processes]:
    """A server, a core and a worker that lives with both."""
    idle = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    server, core = (subprocess.Popen(idle, stdin=subprocess.PIPE, text=True) for _ in range(2))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(server.pid), str(core.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "living\n"
    yield server, core, worker
    for process in (server, core, worker):
        process.kill()
        process.communicate()


def test_core_and_worker_follow_a_killed_server(together: Processes) -> None:
    server, core, worker = together

    server.kill()

    assert core.wait(10) == -9
    assert worker.wait(10) == 1


def test_a_worker_follows_its_killed_core_and_the_server_lives(together: Processes) -> None:
    server, core, worker = together

    core.kill()

    assert worker.wait(10) == 1
    assert server.poll() is None
