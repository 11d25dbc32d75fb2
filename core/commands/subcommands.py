"""Commands of a command (`agentlm models list`): each is a settings class and a function."""

from __future__ import annotations

import difflib
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from agentlm.errors import OperatorError
from agentlm.settings import Settings, parse


class Subcommand(NamedTuple):
    """The settings class, whose docstring is the command's help, and the function to run."""

    settings: type[Settings]
    run: Callable[[Any], int]


def dispatch(commands: Mapping[str, Subcommand], argv: Sequence[str], prog: str) -> int:
    """Run the command that `argv` begins with, and return its exit code.

    Raises OperatorError for an unknown command; the message names the nearest.
    """
    name, *rest = argv or [""]
    if name in commands:
        settings, run = commands[name]
        return run(parse(settings, rest, f"{prog} {name}"))
    if name in ("", "-h", "--help"):
        print(_help(commands, prog))
        return 0 if name else 2
    nearest = difflib.get_close_matches(name, commands, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(commands)}"
    raise OperatorError(f"unknown command {prog} {name}; {hint}")


def _help(commands: Mapping[str, Subcommand], prog: str) -> str:
    width = max(map(len, commands))
    lines = [f"usage: {prog} COMMAND [OPTIONS]", "", "commands:"]
    for name, (settings, _) in commands.items():
        summary = inspect.cleandoc(settings.__doc__ or "").split("\n\n")[0]
        first, further = f"  {name:<{width}}  ", " " * (width + 4)
        lines.append(textwrap.fill(summary, 79, initial_indent=first, subsequent_indent=further))
    return "\n".join(lines)
