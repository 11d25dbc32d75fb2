"""What a sandbox's processes hold of the machine that neither their memory nor the names in the
work directory show: files without a name, buffers of sockets, small files in memory, terminals.

Read from /proc and from the accounts that the kernel keeps of the sandbox's own file systems.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentlm.tools.shell.process_tree import tree

_BLOCK_BYTES = 512
_PROC = Path("/proc")
_BUFFERS = (Path("/proc/sys/net/core/wmem_default"), Path("/proc/sys/net/core/rmem_default"))
_SOCKETS = re.compile(r"sockets: used (\d+)")
_QUEUES = re.compile(r"^ *\d+: \S+ \S+ \S+ ([0-9A-F]+):([0-9A-F]+) ", re.MULTILINE)
_IN_FLIGHT = re.compile(r"scm_fds:\s*(\d+)")
_SHARED_MAPPING = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) ...s \S+ (\S+ \d+) +/dev/zero \(deleted\)$", re.MULTILINE
)
_DELETED_MAPPING = re.compile(
    r"^\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) .*\(deleted\)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Unseen:
    """What one sandbox holds at one moment."""

    nameless_bytes: int
    """Files on the work directory's disk that are open or run, and have no name left."""
    nameless_files: int
    """Such files whose size can't be seen: mapped, or on their way through a socket."""
    socket_bytes: int
    """The most that the buffers of its sockets can hold."""
    shared_bytes: int
    """Memory that processes share without a file; the part that none has mapped in
    (`MADV_DONTNEED`) is in no process's account."""
    temporary_files: int
    """Files in the fullest of its file systems in memory."""
    terminals: int


NOTHING = Unseen(0, 0, 0, 0, 0, 0)


def unseen(first: int, device: int, temporary: tuple[str, ...]) -> Unseen:
    """Look at the sandbox whose first process has this id; nothing if it has ended.

    `device` is what the work directory is on, `temporary` where file systems in memory are mounted.
    """
    sizes: dict[int, int] = {}
    in_flight: dict[int, int] = {}
    for pid in tree(first):
        for link in _links(pid):
            with suppress(OSError):
                state = link.stat()
                if stat.S_ISSOCK(state.st_mode):
                    in_flight[state.st_ino] = _in_flight(link)
                elif not state.st_nlink and stat.S_ISREG(state.st_mode) and state.st_dev == device:
                    sizes[state.st_ino] = state.st_blocks * _BLOCK_BYTES
    mapped = {inode for pid in tree(first) for inode in _mapped(pid, device)} - sizes.keys()
    root = _PROC / str(first) / "root"
    return Unseen(
        nameless_bytes=sum(sizes.values()),
        nameless_files=sum(in_flight.values()) + len(mapped),
        socket_bytes=_socket_bytes(first),
        shared_bytes=_shared_bytes(first),
        temporary_files=max(_files(root / path[1:], device) for path in temporary),
        terminals=_terminals(root / "dev/pts"),
    )


def _links(pid: int) -> Iterator[Path]:
    """The links to open files: descriptors, and the program itself."""
    yield _PROC / str(pid) / "exe"
    with suppress(OSError):
        yield from (_PROC / str(pid) / "fd").iterdir()


def _in_flight(link: Path) -> int:
    """How many descriptors wait in a socket for a receiver."""
    match = _IN_FLIGHT.search(_text(link.parent.with_name("fdinfo") / link.name))
    return int(match[1]) if match else 0


def _mapped(pid: int, device: int) -> Iterator[int]:
    for major, minor, inode in _DELETED_MAPPING.findall(_text(_PROC / str(pid) / "maps")):
        if os.makedev(int(major, 16), int(minor, 16)) == device:
            yield int(inode)


def _shared_bytes(first: int) -> int:
    """By the kernel's account of each such memory, or what is mapped of it if root alone may ask:
    parts of one, in one process or in several, count as one from end to end."""
    sizes: Counter[str] = Counter()
    for pid in tree(first):
        parts: Counter[str] = Counter()
        for start, end, memory in _SHARED_MAPPING.findall(_text(_PROC / str(pid) / "maps")):
            mapping = _PROC / str(pid) / "map_files" / f"{int(start, 16):x}-{int(end, 16):x}"
            try:
                parts[memory] = mapping.stat().st_blocks * _BLOCK_BYTES
            except OSError:
                parts[memory] += int(end, 16) - int(start, 16)
        sizes |= parts
    return sizes.total()


def _socket_bytes(pid: int) -> int:
    net = _PROC / str(pid) / "net"
    sockets = _SOCKETS.search(_text(net / "sockstat"))
    queued = sum(
        int(sent, 16) + int(received, 16)
        for table in ("tcp", "tcp6")
        for sent, received in _QUEUES.findall(_text(net / table))
    )
    each = max(int(_text(path) or 0) for path in _BUFFERS)
    return queued + (int(sockets[1]) * each if sockets else 0)


def _files(path: Path, device: int) -> int:
    """By the account of the file system at that place, unless it is the work directory's disk."""
    try:
        account = os.statvfs(path)
        return 0 if path.stat().st_dev == device else account.f_files - account.f_ffree
    except OSError:
        return 0


def _terminals(path: Path) -> int:
    try:
        return len(list(path.iterdir())) - 1  # ptmx
    except OSError:
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
