"""The entry of `agentlm wheel`: errors in flags, and `--help`, don't need the extra."""

from __future__ import annotations

from collections.abc import Sequence

from agentlm.commands.wheel.checks import check_commands
from agentlm.commands.wheel.settings import WheelSettings
from agentlm.settings import parse


def main(argv: Sequence[str]) -> int:
    settings = parse(WheelSettings, argv, "agentlm wheel")
    check_commands(settings)
    from agentlm.commands.wheel.main import run

    run(settings)
    return 0
