"""What bounds a whole sandbox: kernel limits are per process, these are sums over all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentlm.tools.settings import MEBIBYTE, ToolSettings
from agentlm.tools.shell.process_tree import tree_usage
from agentlm.tools.shell.workspace import excess_of, trim

_REWRITE_FACTOR = 4
"""A command may write this many times what its work directory may hold."""


class SandboxLimits:
    """Watches one sandbox from its first look on. Names the limit that is exceeded, in words."""

    def __init__(self, pid: int, workspace: Path, settings: ToolSettings) -> None:
        self._pid = pid
        self._workspace = workspace
        self._settings = settings
        self._cpu_s_before: float | None = None
        self._written_before = 0

    async def excess(self) -> str | None:
        """Look at the processes, then at the files."""
        return self._process_excess() or await disk_excess(self._workspace, self._settings)

    def _process_excess(self) -> str | None:
        limits = self._settings
        used = tree_usage(self._pid)
        if self._cpu_s_before is None:
            self._cpu_s_before, self._written_before = used.cpu_s, used.written_bytes
        if used.memory_bytes > limits.bash_memory_mb * MEBIBYTE:
            return f"its processes used more than {limits.bash_memory_mb} MiB of memory together"
        if used.cpu_s - self._cpu_s_before > limits.bash_cpu_s:
            return f"its processes used more than {limits.bash_cpu_s} s of processor time together"
        written = used.written_bytes - self._written_before
        if written > _REWRITE_FACTOR * limits.bash_disk_mb * MEBIBYTE:
            return f"its processes wrote {written // MEBIBYTE} MiB to disk"
        return None


async def disk_excess(workspace: Path, settings: ToolSettings) -> str | None:
    """Which limit the work directory exceeds, in words."""
    limit_bytes = settings.bash_disk_mb * MEBIBYTE
    return await asyncio.to_thread(excess_of, workspace, limit_bytes, settings.bash_files)


async def trim_to_limits(workspace: Path, settings: ToolSettings) -> int:
    """Remove the newest files until the limits hold. Returns how many were removed."""
    limit_bytes = settings.bash_disk_mb * MEBIBYTE
    return await asyncio.to_thread(trim, workspace, limit_bytes, settings.bash_files)
