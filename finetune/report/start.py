"""How a run was started: when, by which command, by which version of the program."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from agentlm import __version__

_HIDDEN = "…"
_KEY_FLAG = re.compile(r"--[\w-]*(key|token|password|secret)[\w-]*", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def start_record() -> dict[str, str]:
    """The start of this process. It has a commit if the program runs from its repository."""
    record = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": public_command(sys.argv),
        "version": __version__,
    }
    commit = _commit(Path(__file__).resolve())
    return record | ({"commit": commit} if commit else {})


def public_command(argv: Sequence[str]) -> str:
    """A command line for a shell, without secrets."""
    words = [Path(argv[0]).name]
    for before, argument in pairwise(argv):
        flag, equals, _ = argument.partition("=")
        if _KEY_FLAG.fullmatch(before) and not argument.startswith("--"):
            argument = _HIDDEN
        elif equals and _KEY_FLAG.fullmatch(flag):
            argument = f"{flag}={_HIDDEN}"
        words.append(_LOGIN.sub(_HIDDEN, argument))
    return shlex.join(words)


def _commit(file: Path) -> str | None:
    """The commit of a tracked file. An installed copy may lie in another project's repository."""
    tracked = _git(file.parent, "ls-files", "--error-unmatch", file.name)
    if tracked is None:
        return None
    return _git(file.parent, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
