"""The programs that run commands: a keeper that commands can't reach, and a bash for each command.

The keeper starts a bash, which waits for one command, evaluates it and ends; then the keeper tells
the command's number and how that bash ended, on a socket that nobody else holds. So an exit code is
the kernel's word on the process that ran the command: nothing that a command prints, writes or
calls can pass for one, nor come before its end, nor be taken for that of another command.

That bash is a fork of the keeper that begins anew (`man bash`, COMMAND EXECUTION: a script that
names no interpreter), in a fifth of the time that starting a program takes. Both run a copy of bash
that nobody may read: the kernel then closes their memory and descriptors to all others of their
user (`/proc/PID/mem`, `fd`). The keeper is the first process of its namespace, so that no signal
from inside ends or stops it.

What a shell keeps (variables, functions, aliases, options, directory, the last exit code) is saved
when a command has been evaluated to its end, in a file that has no name, and is there for the next.
It is taken off the file before it is used, so that nothing in it can fail twice. A bash that ended
without saving has ended the shell; one that ended before it read its command has too, with code
125. Traps are a command's own; that of EXIT is run if it exits.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

KEEPER = "keeper.sh"
EVALUATOR = "evaluator.sh"
"""Scripts that stand beside this module."""


def script(name: str) -> Path:
    return Path(str(files(__package__) / name))


def driver(bash: str, keeper: str, state: Path, evaluator: list[str]) -> list[str]:
    """The keeper's command line, with that of an evaluator.

    It reads commands, each of them ended by two NULs, and tells on its error output: NUL when it is
    ready, then a line `NUMBER CODE` for each command. `state` is where the file of the shell's
    state is made before it loses its name.
    """
    return [bash, "--norc", "--noprofile", keeper, str(state), *evaluator]
