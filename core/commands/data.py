"""`agentlm data`: training data on the command line, without training."""

from __future__ import annotations

from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.finetune.check import CheckData, check

COMMANDS = {"check": Subcommand(CheckData, check)}


def main(argv: list[str]) -> int:
    """Entry point of `agentlm data`."""
    return dispatch(COMMANDS, argv, "agentlm data")
