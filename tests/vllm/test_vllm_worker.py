"""Processes that live together: none of an engine's may be left when another was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest

Processes = tuple[subprocess.Popen[str], subprocess.Popen[str], subprocess.Popen[str]]

WORKER = """
import sys
from agentlm.server.vllm.worker import WorkerExtension
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


def test_a_process_of_vllms_ends_with_its_server_from_the_beginning() -> None:
    [plugin] = entry_points(group="vllm.general_plugins", name="agentlm")
    idle = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(idle, stdin=subprocess.PIPE) as server:
        environ = {**os.environ, "AGENTLM_SERVER_PROCESS": str(server.pid)}
        module, _, name = plugin.value.partition(":")
        code = f"import sys\nfrom {module} import {name}\n{name}()\nsys.stdin.read()"
        core = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environ)
        server.kill()

    assert core.wait(10) == 1
    core.communicate()
