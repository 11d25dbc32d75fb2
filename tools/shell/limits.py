"""The limits of a whole sandbox: the kernel's are per process, these are sums over all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentlm.tools.settings import MEBIBYTE, ToolSettings
from agentlm.tools.shell.bubblewrap import TEMPORARY
from agentlm.tools.shell.process_tree import TreeUsage
from agentlm.tools.shell.shell import Shell
from agentlm.tools.shell.unseen import NOTHING, Unseen, unseen
from agentlm.tools.shell.workspace import excess_of, trim

_REWRITE_FACTOR = 4
"""A command may write this many times what its work directory may hold."""


class SandboxLimits:
    """Watches one sandbox, starting at the first call, and names the limit that is exceeded."""

    def __init__(self, shell: Shell, workspace: Path, settings: ToolSettings) -> None:
        self._shell = shell
        self._workspace = workspace
        self._settings = settings
        self._device = workspace.stat().st_dev
        self._cpu_s_before: float | None = None
        self._written_before = 0

    async def excess(self) -> str | None:
        """The limit that is exceeded, if any. Looks at the processes, then at the files."""
        used, hidden = self._shell.usage(), NOTHING
        if first := self._shell.first:
            hidden = await asyncio.to_thread(unseen, first, self._device, TEMPORARY)
        return (
            self._process_excess(used, hidden)
            or self._unseen_excess(hidden)
            or await disk_excess(self._workspace, self._settings)
        )

    def _process_excess(self, used: TreeUsage, hidden: Unseen) -> str | None:
        limits = self._settings
        if self._cpu_s_before is None:
            self._cpu_s_before, self._written_before = used.cpu_s, used.written_bytes
        memory_bytes = used.memory_bytes + hidden.socket_bytes + hidden.shared_bytes
        if memory_bytes > limits.bash_memory_mb * MEBIBYTE:
            return (
                f"its processes used more than {limits.bash_memory_mb} MiB of memory together, "
                "buffers of sockets and shared memory included"
            )
        if used.cpu_s - self._cpu_s_before > limits.bash_cpu_s:
            return f"its processes used more than {limits.bash_cpu_s} s of processor time together"
        written = used.written_bytes - self._written_before
        if written > _REWRITE_FACTOR * limits.bash_disk_mb * MEBIBYTE:
            return f"its processes wrote {written // MEBIBYTE} MiB to disk"
        return None

    def _unseen_excess(self, hidden: Unseen) -> str | None:
        limits = self._settings
        nameless_mb = (
            hidden.nameless_bytes // MEBIBYTE + hidden.nameless_files * limits.bash_file_mb
        )
        if nameless_mb > limits.bash_disk_mb:
            return f"its processes held files without a name of {nameless_mb} MiB"
        if hidden.temporary_files > limits.bash_files:
            return f"a temporary directory held more than {limits.bash_files} files"
        if hidden.terminals > limits.bash_processes:
            return f"its processes held more than {limits.bash_processes} terminals"
        return None


async def disk_excess(workspace: Path, settings: ToolSettings) -> str | None:
    """Which limit the work directory exceeds, in words."""
    limit_bytes = settings.bash_disk_mb * MEBIBYTE
    return await asyncio.to_thread(excess_of, workspace, limit_bytes, settings.bash_files)


async def trim_to_limits(workspace: Path, settings: ToolSettings) -> int:
    """Remove the newest files until the limits hold. Returns how many were removed."""
    limit_bytes = settings.bash_disk_mb * MEBIBYTE
    return await asyncio.to_thread(trim, workspace, limit_bytes, settings.bash_files)
