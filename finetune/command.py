"""The entry of `agentlm finetune`: errors in flags, and `--help`, don't wait for any library."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from agentlm.finetune.recipes import with_shipped_recipe
from agentlm.finetune.settings import FinetuneSettings
from agentlm.finetune.training.allocator import restart_with_tcmalloc
from agentlm.finetune.training.leave import leave
from agentlm.printable import say
from agentlm.settings import parse


def main(argv: Sequence[str]) -> int:
    """Ends the process once the run is done. Exit code 1 if the gate's rule does not hold, or if no
    row is left to train on."""
    restart_with_tcmalloc(argv)
    settings = parse(FinetuneSettings, with_shipped_recipe(argv), "agentlm finetune")
    settings.check()
    if os.environ.get("RANK", "0") == "0":
        print("loading the trainer, then selecting rows", file=sys.stderr, flush=True)
    from agentlm.finetune.filters.drops import NothingLeft
    from agentlm.finetune.main import run

    try:
        leave(run(settings))
    except NothingLeft as error:
        say(f"agentlm: {error}", sys.stderr)
        return 1
