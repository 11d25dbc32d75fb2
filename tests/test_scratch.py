"""Directories for one process: gone with it, or with the next one if it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

import pytest

from agentlm.scratch import scratch
from agentlm.server.vllm.launch import SOCKETS, prepare_environment

# Another test's directories may be swept at the same time: each test has a kind of its own.
KILLED = """
import os, signal
from agentlm.scratch import scratch
mine = scratch("killed")
print(mine.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

HOLDS = """
import os, sys
from agentlm.scratch import scratch
mine = scratch("held")
print(mine.name, flush=True)
sys.stdin.read()
os._exit(1)
"""
"""Ends with its input, without tidying up. Being the first process there, it can't kill itself."""
ELSEWHERE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
ELSEWHERE += [sys.executable, "-c", HOLDS]
"""In a container, in which processes have numbers of their own."""


def test_what_a_killed_process_left_goes_with_the_next_that_starts() -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    left = Path(killed.stdout.strip())
    with scratch("killed"):
        assert left.is_dir()  # as long as somebody may be about to hold it
    long_ago(left)
    with scratch("other"):
        assert left.is_dir()
    with scratch("killed") as mine, scratch("killed") as again:
        assert not left.exists()
        assert Path(mine).is_dir()
        assert Path(again).is_dir()
    assert not Path(mine).exists()


def test_what_a_process_holds_stays_though_its_number_means_nothing_here() -> None:
    with subprocess.Popen(ELSEWHERE, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().decode().strip())
        long_ago(theirs)
        with scratch("held"):
            assert theirs.is_dir()
        # `unshare` waits for it to end; of one that is killed itself, the child lives on a moment.
        other.communicate()
    with scratch("held"):
        assert not theirs.exists()


def long_ago(directory: Path) -> None:
    os.utime(directory, (1, 1))


@pytest.mark.parametrize("theirs", [{}, {SOCKETS: "/run/mine"}])
def test_vllms_sockets_are_in_a_directory_of_the_server_unless_the_user_names_one(
    theirs: dict[str, str],
) -> None:
    environ = dict(theirs)
    prepare_environment(environ)
    if theirs:
        assert environ[SOCKETS] == "/run/mine"
    else:
        assert Path(environ[SOCKETS]).parent == Path(gettempdir())
