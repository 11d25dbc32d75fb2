"""Seccomp programs against system calls that sandboxed programs never need.

Namespaces already take away what these calls could reach. This takes away the calls themselves,
because past escapes used them. It also closes what no namespace does: keys of the server's session;
sockets of address families that ignore the network namespace (vsock, Bluetooth); and memory that
belongs to no file and no process, which limits on these would miss: System V shared memory, memfd,
message queues, large socket buffers, memory given to a pipe, blocks beyond a file's end. Some
resources are shared by the whole machine or user (contexts of asynchronous I/O; watches of inotify,
which also reveal what others do with /usr). And commands must not trace the shell that runs them.
"""

from __future__ import annotations

import errno
import struct

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH of the kernel, and the column of `_FORBIDDEN` to read."""

_FORBIDDEN = {
    # name: (x86_64, aarch64)
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "inotify_init": (253, 26),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vmsplice": (278, 75),
}
_DOING = {
    # What a process that only computes never needs again
    "accept": (43, 202),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "sendto": (44, 206),
    "socket": (41, 198),
    "socketpair": (53, 199),
}
_FALLOCATE = (285, 47)
_SETSOCKOPT = (54, 208)
_SOCKET_LEVEL = 1
_BUFFER_SIZES = (7, 8)
"""SO_SNDBUF, SO_RCVBUF."""
_SOCKET = (41, 198)
_CLONE = (56, 220)
_CLONE3 = 435
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: each of them confined by the network namespace."""
_NEW_NAMESPACE = 0x7E020000
"""The CLONE_NEW* flags."""
_X32 = 0x40000000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _THIRD_ARGUMENT = 0, 4, 16, 24, 32
"""Offsets in `struct seccomp_data`; for an argument, that of its lower half."""


def program(machine: str) -> bytes | None:
    """The filter in the kernel's binary form; None for a processor with unknown call numbers."""
    if machine not in _ARCHITECTURES:
        return None
    architecture, column = _ARCHITECTURES[machine]
    refuse = [_instruction(_RETURN, _ERRNO | errno.EPERM)]
    lines = [
        _instruction(_LOAD, _ARCHITECTURE),
        *_unless(_JUMP_EQUAL, architecture, [_instruction(_RETURN, _KILL)]),
        _instruction(_LOAD, _NUMBER),
        *_if(_JUMP_AT_LEAST, _X32, refuse),
    ]
    for numbers in _FORBIDDEN.values():
        lines += _if(_JUMP_EQUAL, numbers[column], refuse)
    # glibc falls back to clone, whose flags can be read here
    lines += _if(_JUMP_EQUAL, _CLONE3, [_instruction(_RETURN, _ERRNO | errno.ENOSYS)])
    # Blocks beyond a file's end count for no limit of its size; libc and programs then write zeros
    lines += _if(
        _JUMP_EQUAL, _FALLOCATE[column], [_instruction(_RETURN, _ERRNO | errno.EOPNOTSUPP)]
    )
    lines += _if(_JUMP_EQUAL, _SETSOCKOPT[column], _keeping_buffer_sizes())
    argument = _instruction(_LOAD, _FIRST_ARGUMENT)
    allow = _instruction(_RETURN, _ALLOW)
    new_namespace = [argument, *_if(_JUMP_ANY_BIT, _NEW_NAMESPACE, refuse), allow]
    lines += _if(_JUMP_EQUAL, _CLONE[column], new_namespace)
    known = [line for family in _FAMILIES for line in _if(_JUMP_EQUAL, family, [allow])]
    lines += _if(_JUMP_EQUAL, _SOCKET[column], [argument, *known, *refuse])
    return b"".join([*lines, allow])


def _keeping_buffer_sizes() -> list[bytes]:
    """Accept a requested buffer size, which is only a hint, and do nothing."""
    allow = _instruction(_RETURN, _ALLOW)
    taken = [_instruction(_RETURN, _ERRNO)]
    return [
        _instruction(_LOAD, _SECOND_ARGUMENT),
        *_unless(_JUMP_EQUAL, _SOCKET_LEVEL, [allow]),
        _instruction(_LOAD, _THIRD_ARGUMENT),
        *(line for option in _BUFFER_SIZES for line in _if(_JUMP_EQUAL, option, taken)),
        allow,
    ]


def computing_program(machine: str) -> bytes | None:
    """The same for a process that only computes: it opens no socket and starts no program."""
    code = program(machine)
    if code is None:
        return None
    _, column = _ARCHITECTURES[machine]
    refuse = [_instruction(_RETURN, _ERRNO | errno.EPERM)]
    lines = [_instruction(_LOAD, _NUMBER)]
    for numbers in _DOING.values():
        lines += _if(_JUMP_EQUAL, numbers[column], refuse)
    return b"".join(lines) + code


def _instruction(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, when_true, when_false, value)


def _if(code: int, value: int, then: list[bytes]) -> list[bytes]:
    return [_instruction(code, value, 0, len(then)), *then]


def _unless(code: int, value: int, then: list[bytes]) -> list[bytes]:
    return [_instruction(code, value, len(then), 0), *then]
