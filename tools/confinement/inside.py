"""The inside of a worker process: it gives up what it does not need, then answers frames.

A frame is four bytes of length, then that many bytes. What is given up can't be regained: root,
sockets, starting programs, memory beyond a limit. So code that reads strangers' text (HTML, SPARQL)
can at worst stop its own process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable

from agentlm.tools.confinement.seccomp import computing_program

_NOBODY = 65533
_HEADER_BYTES = 4
_PARENT_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def answer_frames(answer: Callable[[bytes], bytes]) -> None:
    """Answer each input frame with an output frame, until the input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(header := source.read(_HEADER_BYTES)) == _HEADER_BYTES:
        reply = answer(source.read(int.from_bytes(header, "big")))
        sink.write(len(reply).to_bytes(_HEADER_BYTES, "big") + reply)
        sink.flush()


def confine(memory_bytes: int, *, keep_user: bool = False) -> None:
    """Give up root, network, programs and memory beyond the limit. Raises OSError if that fails.

    Import modules and open files before this. `keep_user`: files of this user will still be opened.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0 and not keep_user:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    libc = ctypes.CDLL(None, use_errno=True)
    _called(libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0))
    _filter_calls(libc)


def _filter_calls(libc: ctypes.CDLL) -> None:
    machine = platform.machine()
    code = computing_program(machine)
    if code is None:
        raise OSError(f"system calls can't be filtered on {machine}")
    program = _Program(len(code) // 8, code)
    _called(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    number = _SECCOMP_CALL[machine]
    _called(libc.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)))


def _called(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
