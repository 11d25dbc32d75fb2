"""The command line under which a program sees nothing but a read-only /usr and its own directory.

Bubblewrap gives it fresh mount, process, network, IPC and user namespaces and an empty environment;
prlimit bounds each process. Root is dropped to another user id first, because the kernel counts no
processes of uid 0. That user may not be able to reach the data directory, so root first mounts the
work directory where it can, in a mount namespace of its own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.tools.settings import MEBIBYTE, ToolSettings

_PROGRAMS = ("bwrap", "prlimit")
_ROOT_PROGRAMS = ("unshare", "setpriv", "mount")
_TMP_BYTES = 64 * MEBIBYTE
_MOUNT_POINT = "/mnt"
_PATH = "/usr/local/bin:/usr/bin:/bin"

_FILE_SYSTEM = f"""
    --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/sbin /sbin
    --symlink usr/lib /lib --symlink usr/lib64 /lib64
    --dir /etc --ro-bind-try /etc/alternatives /etc/alternatives
    --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache
    --proc /proc
    --dev /dev --size {_TMP_BYTES} --tmpfs /dev/shm --remount-ro /dev
    --size {_TMP_BYTES} --tmpfs /tmp
""".split()
_ISOLATION = [
    *("--chdir", "/workspace", "--remount-ro", "/", "--hostname", "sandbox"),
    *("--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns"),
    *("--die-with-parent", "--new-session", "--clearenv"),
    *("--setenv", "HOME", "/workspace", "--setenv", "USER", "agent"),
    *("--setenv", "LANG", "C.UTF-8", "--setenv", "TERM", "dumb"),
]


def sandboxed(program: list[str], workspace: Path, settings: ToolSettings) -> list[str]:
    """The command line that runs `program` in a sandbox with `workspace` at /workspace."""
    if settings.bash_sandbox == "unsafe":
        return [*_limits(settings), *program]
    inner = [*_FILE_SYSTEM, "--bind", _source(workspace), "/workspace", *_ISOLATION]
    bwrap = ["bwrap", *inner, "--setenv", "PATH", _PATH, "--", *_limits(settings), *program]
    return [*_drop_root(workspace, settings.bash_uid), *bwrap] if os.geteuid() == 0 else bwrap


def prepare_workspace(workspace: Path, settings: ToolSettings) -> None:
    """Create a work directory that the sandboxed user owns and nobody else can read."""
    workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() == 0 and settings.bash_sandbox != "unsafe":
        os.chown(workspace, settings.bash_uid, settings.bash_uid)


def require_programs(settings: ToolSettings) -> None:
    """Raises OperatorError if a program that the sandbox is made of is not installed."""
    if settings.bash_sandbox == "unsafe":
        return
    wanted = _PROGRAMS + (_ROOT_PROGRAMS if os.geteuid() == 0 else ())
    missing = [program for program in wanted if shutil.which(program) is None]
    if missing:
        raise OperatorError(
            f"the bash tool needs {', '.join(missing)} (Debian: bubblewrap, util-linux, mount); "
            "install them, leave bash out of `tools`, or accept the risk with `bash_sandbox=unsafe`"
        )


def _limits(settings: ToolSettings) -> list[str]:
    return [
        "prlimit",
        f"--as={settings.bash_memory_mb * MEBIBYTE}",
        f"--cpu={settings.bash_cpu_s}",
        f"--nproc={settings.bash_processes}",
        f"--fsize={settings.bash_file_mb * MEBIBYTE}",
        "--nofile=256",
        "--core=0",
        "--",
    ]


def _source(workspace: Path) -> str:
    return _MOUNT_POINT if os.geteuid() == 0 else str(workspace)


def _drop_root(workspace: Path, uid: int) -> list[str]:
    mount = f'mount --bind "$1" {_MOUNT_POINT} && shift && exec "$@"'
    return [
        *("unshare", "--mount", "--propagation", "private", "--"),
        *("sh", "-c", mount, "sh", str(workspace)),
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"),
    ]
