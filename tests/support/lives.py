"""Trainings that are killed on purpose, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence

_LIVES = '''
import json, os, signal, sys
from agentlm.finetune.main import run
from agentlm.finetune.run import Run
from agentlm.finetune.settings import FinetuneSettings
# What takes long is imported once: every life is a copy of this process.
from agentlm.finetune.training import model, processes, reference, save, train, zero
import torch, deepspeed

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def late(module, name, calls, death=die):
    """Die at a later call of a function."""
    whole, left = getattr(module, name), [calls]
    def call(*arguments, **options):
        left[0] -= 1
        return (death if left[0] < 0 else whole)(*arguments, **options)
    setattr(module, name, call)

def torn(_, path, *__, **___):
    """Half of a file, and the power goes."""
    with open(path, "wb") as file:
        file.write(b"PK" + bytes(100))
    die()

def full(_, path, *__, **___):
    raise OSError(28, os.strerror(28), str(path))

MOMENTS = {
    "whole": lambda: None,
    "between steps": lambda: late(Run, "add_metrics", 3),
    "before a checkpoint counts": lambda: late(train, "write_text", 1),
    "in a file of a checkpoint": lambda: late(torch, "save", 1, torn),
    "the disk is full": lambda: late(torch, "save", 1, full),
}
for settings, moment in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        try:
            MOMENTS[moment]()
            run(FinetuneSettings(**settings))
            os._exit(0)
        except Exception as error:
            print(type(error).__name__, " ".join(str(error).split()), file=sys.stderr, flush=True)
            os._exit(1)
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
'''


def lived(plan: Sequence[tuple[dict[str, object], str]]) -> tuple[list[str], str]:
    """Run `agentlm finetune` with these settings one after another, each up to a moment of
    `MOMENTS`. Returns the exit code of each, and what was printed as errors."""
    done = subprocess.run(
        [sys.executable, "-c", _LIVES, json.dumps(plan)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # so little work that threads only wait
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return re.findall(r"^ended with (.*)$", done.stdout, re.MULTILINE), done.stderr
