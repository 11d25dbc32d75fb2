"""`agentlm data`: training data on the command line, without training.

What a command needs is imported when it runs: errors in flags, and `--help`, don't need the extra.
"""

from __future__ import annotations

from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.finetune.data_settings import CheckData, RehearseData


def main(argv: list[str]) -> int:
    return dispatch(COMMANDS, argv, "agentlm data")


def check_data(settings: CheckData) -> int:
    """Check each file. Returns the exit code."""
    from agentlm.finetune.check import check

    return check(settings)


def rehearse_data(settings: RehearseData) -> int:
    """Make the rows. Returns the exit code."""
    from agentlm.finetune.rehearse import rehearse

    return rehearse(settings)


COMMANDS = {
    "check": Subcommand(CheckData, check_data),
    "rehearse": Subcommand(RehearseData, rehearse_data),
}
