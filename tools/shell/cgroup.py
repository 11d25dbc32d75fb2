"""Memory and processes of a whole sandbox, bounded by the kernel where it lets us.

A cgroup v2 directory is *delegated* if it may be written and hands out the controllers: under
systemd, a service with `Delegate=yes` and `DelegateSubgroup=server`. The server then runs in one
child of it, and each sandbox gets another. Elsewhere `limits.SandboxLimits` watches instead.
"""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_CONTROLLERS = {"memory", "pids"}


def delegated(own: Path = _OWN, root: Path = _ROOT) -> Path | None:
    """The directory in which sandboxes' cgroups can be made, if there is one."""
    unified = [line[3:] for line in own.read_text().splitlines() if line.startswith("0::/")]
    if not unified or unified[0] == "/":
        return None
    parent = root / unified[0].lstrip("/").rpartition("/")[0]
    try:
        handed_out = set((parent / "cgroup.subtree_control").read_text().split())
    except OSError:
        return None
    return parent if handed_out >= _CONTROLLERS and os.access(parent, os.W_OK) else None


class Cgroup:
    """One sandbox's cgroup. A process enters by writing its id to `procs`."""

    def __init__(self, directory: Path, *, memory_bytes: int, processes: int) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self.procs = directory / "cgroup.procs"
        (directory / "memory.max").write_text(str(memory_bytes))
        (directory / "memory.swap.max").write_text("0")
        (directory / "memory.oom.group").write_text("1")
        (directory / "pids.max").write_text(str(processes))

    def remove(self) -> None:
        """Remove the group. Its processes must have ended."""
        self._directory.rmdir()
