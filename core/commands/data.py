"""`agentlm data`: training data on the command line, without training."""

from __future__ import annotations

from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.finetune.check import CheckData, check
from agentlm.finetune.rehearse import RehearseData, rehearse

COMMANDS = {
    "check": Subcommand(CheckData, check),
    "rehearse": Subcommand(RehearseData, rehearse),
}


def main(argv: list[str]) -> int:
    return dispatch(COMMANDS, argv, "agentlm data")
