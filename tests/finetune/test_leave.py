"""A process that has trained ends with its exit code, whatever threads of libraries still do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TRAINED = """
import atexit, sys, threading, time
from agentlm.finetune.training.leave import leave

atexit.register(print, "tidied up")
print("trained", end=" ")
threading.Thread(target=time.sleep, args=(600,)).start()
leave({code})
"""


def test_what_was_printed_and_registered_is_done_and_no_thread_is_waited_for() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TRAINED.format(code=1)], capture_output=True, text=True, timeout=60
    )

    assert (ended.returncode, ended.stdout) == (1, "trained tidied up\n")


def test_a_reader_who_is_gone_is_an_error_that_is_told(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", TRAINED.format(code=0).replace("600", "0")],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdout is not None
        process.stdout.close()

        assert process.wait(60) != 0
        errors.seek(0)
        assert "BrokenPipeError" in errors.read()
