"""A run starts itself once more with the allocator that wastes less, and no other program does."""

from __future__ import annotations

import os
import subprocess
import sys

from agentlm.finetune.training.allocator import preloaded, restart_with_tcmalloc

PROGRAM = """
import sys
from agentlm.finetune.training.allocator import restart_with_tcmalloc
restart_with_tcmalloc(sys.argv[1:])
print(sys.argv[1:], "tcmalloc" in open("/proc/self/maps").read())
"""


def test_a_program_goes_on_with_tcmalloc_if_it_is_installed() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = [sys.executable, "-c", PROGRAM, "--from-logs"]

    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert finished.stdout.split("\n")[-2] == f"['--from-logs'] {bool(preloaded())}"


def test_a_program_that_calls_the_command_itself_is_left_alone() -> None:
    restart_with_tcmalloc([])
    restart_with_tcmalloc(["--from-logs"])
