"""What a tree of processes uses together, read from /proc.

Kernel limits other than a cgroup's are per process; this is the measure of the whole tree where no
cgroup is delegated. Processes of a sandbox can't leave the tree: its process namespace's first
process adopts every orphan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """A moment's sum over a process and all of its descendants."""

    processes: int = 0
    memory_bytes: int = 0
    """Resident memory; pages that processes share count once for each."""
    cpu_s: float = 0.0
    """Processor time, that of ended and awaited children included."""
    written_bytes: int = 0
    """Written to disks, that of ended and awaited children included; also what was unlinked."""

    def __add__(self, other: TreeUsage) -> TreeUsage:
        return TreeUsage(
            self.processes + other.processes,
            self.memory_bytes + other.memory_bytes,
            self.cpu_s + other.cpu_s,
            self.written_bytes + other.written_bytes,
        )


def tree_usage(root: int) -> TreeUsage:
    """Sum over the tree below `root`, itself included; nothing if it has ended."""
    total = TreeUsage()
    for pid in tree(root):
        with suppress(FileNotFoundError, ProcessLookupError):  # ended while we looked
            total += _usage(pid)
    return total


def tree(root: int) -> Iterator[int]:
    """A process and all of its descendants."""
    pending = [root]
    while pending:
        pid = pending.pop()
        yield pid
        with suppress(FileNotFoundError, ProcessLookupError):
            pending += children(pid)


def children(pid: int) -> list[int]:
    """Direct children of every thread of a process. Raises FileNotFoundError if it has ended."""
    found: list[int] = []
    for thread in (_PROC / str(pid) / "task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            found += map(int, (thread / "children").read_text().split())
    return found


def _usage(pid: int) -> TreeUsage:
    stat = (_PROC / str(pid) / "stat").read_text()
    fields = stat.rpartition(")")[2].split()  # the command name before it may hold anything
    ticks = sum(int(field) for field in fields[11:15])
    return TreeUsage(1, int(fields[21]) * _PAGE_BYTES, ticks / _TICKS_PER_S, _written(pid))


def _written(pid: int) -> int:
    try:
        counters = (_PROC / str(pid) / "io").read_text()
    except PermissionError:
        return 0  # a process that changed its credentials: not ours to read without privilege
    return int(counters.partition("\nwrite_bytes:")[2].partition("\n")[0])
