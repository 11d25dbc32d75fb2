"""The entry of `agentlm rollout`: errors in flags, and `--help`, don't need the extra."""

from __future__ import annotations

from collections.abc import Sequence

from agentlm.environments.playing.settings import RolloutSettings
from agentlm.settings import parse


def main(argv: Sequence[str]) -> int:
    settings = parse(RolloutSettings, argv, "agentlm rollout").drawn()
    settings.check()
    from agentlm.environments.playing.main import run

    return run(settings)
