"""The command line: `agentlm COMMAND …`, and the one boundary where errors become exit codes.

A command's module is imported only when that command is chosen. So each command needs only its own
part installed: serving needs no trainer, training no server.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import agentlm
from agentlm.errors import AgentLMError, OperatorError
from agentlm.install import install
from agentlm.printable import PrintableFormatter, say


class Command(NamedTuple):
    entry: str
    """`module:function`; the function takes the arguments and returns the exit code."""
    extra: str
    """The extra of the package that installs the command's imports."""
    summary: str


COMMANDS = {
    "demo": Command("agentlm.commands.demo:main", "cpu", "show the loop once, in a few minutes"),
    "serve": Command("agentlm.server.cli:main", "cpu", "serve a model over the OpenAI API"),
    "models": Command(
        "agentlm.commands.models:main", "cpu", "list, add, promote and remove models"
    ),
    "logs": Command(
        "agentlm.commands.logs.main:main", "cpu", "look at the log, export, import, delete"
    ),
    "keys": Command("agentlm.commands.keys:main", "cpu", "create, list and revoke API keys"),
    "approvals": Command(
        "agentlm.commands.approvals:main", "cpu", "decide on tool calls that wait for a person"
    ),
    "doctor": Command(
        "agentlm.commands.doctor:main", "tools", "check machine, sandbox, log and models"
    ),
    "mcp": Command("agentlm.commands.mcp:main", "tools", "offer the tools to an MCP client"),
    "data": Command(
        "agentlm.commands.data:main",
        "train",
        "look at training data, make general rows",
    ),
    "finetune": Command("agentlm.finetune.command:main", "train", "train a successor from the log"),
    "rollout": Command(
        "agentlm.environments.playing.cli:main",
        "environments",
        "play tasks, leave scored trajectories",
    ),
    "eval": Command(
        "agentlm.environments.evaluation.cli:main",
        "environments",
        "measure a model on tasks, beside the one it came from",
    ),
    "wheel": Command(
        "agentlm.commands.wheel.cli:main",
        "environments",
        "play, train, gate, promote, and again, unattended",
    ),
    "reproduce": Command(
        "agentlm.commands.reproduction.cli:main",
        "environments",
        "do the published experiment again",
    ),
}

HELP = """\
usage: agentlm COMMAND [OPTIONS]

Serve an agent model, record what it does, and train its successor from the record.

commands:
{commands}

Each explains itself: agentlm COMMAND --help. Every option is also an environment variable
(--data-dir is AGENTLM_DATA_DIR) and a key of the YAML file given by --config.

A first turn of the loop:
  agentlm serve --model smollm2-135m --port 8000
  agentlm logs list
  agentlm finetune --from-logs --publish http://localhost:8000
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `agentlm`. Returns the exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    match command:
        case "" | "-h" | "--help" | "help":
            width = max(map(len, COMMANDS))
            lines = [f"  {name:<{width}}  {it.summary}" for name, it in COMMANDS.items()]
            print(HELP.format(commands="\n".join(lines)), end="")
            return 0 if command else 2
        case "-V" | "--version":
            print(f"agentlm {agentlm.__version__}")
            return 0
    return run_command(command, rest)


def serve() -> int:
    """Entry point of `agentlm-serve`."""
    return run_command("serve", sys.argv[1:])


def finetune() -> int:
    """Entry point of `agentlm-finetune`."""
    return run_command("finetune", sys.argv[1:])


def run_command(command: str, argv: Sequence[str]) -> int:
    """Run one command. Its expected errors become lines on stderr without a traceback.

    Exit codes: the command's own, 2 for what the user can correct, 130 when interrupted.
    """
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        return _entry(command)(list(argv))
    except AgentLMError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "agentlm").startswith("agentlm"):
            raise
        missing = (error.name or "").split(".")[0]
        return _fail(f"{command} needs the package {missing}: {install(COMMANDS[command].extra)}")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _entry(command: str) -> Callable[[list[str]], int]:
    if command not in COMMANDS:
        # The default cutoff would suggest `logs` for `bogus`.
        near = difflib.get_close_matches(command, COMMANDS, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(COMMANDS)}"
        raise OperatorError(f"unknown command {command!r}; {hint}")
    module, function = COMMANDS[command].entry.split(":")
    entry: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    return entry


def _fail(message: str) -> int:
    for line in message.splitlines():
        say(f"agentlm: {line}", sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
