"""The entry of `agentlm eval`: errors in flags, and `--help`, don't need the extra."""

from __future__ import annotations

from collections.abc import Sequence

from agentlm.environments.evaluation.settings import EvalSettings
from agentlm.settings import parse


def main(argv: Sequence[str]) -> int:
    settings = parse(EvalSettings, argv, "agentlm eval")
    settings.check()
    from agentlm.environments.evaluation.main import run

    return run(settings)
