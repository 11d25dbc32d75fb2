"""The command line under which a program sees nothing but a read-only /usr and its own directory.

Bubblewrap gives it fresh mount, process, network, IPC and user namespaces, an empty environment and
a seccomp filter; prlimit bounds each process. Root is dropped to another user id first, because the
kernel counts no processes of uid 0. That user may not be able to reach the data directory, so root
first mounts the work directory where it can, in a mount namespace of its own.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.tools.confinement import seccomp
from agentlm.tools.settings import MEBIBYTE, ToolSettings
from agentlm.tools.shell.driver import EVALUATOR, KEEPER, driver, script

_PROGRAMS = ("bash", "bwrap", "prlimit")
_ROOT_PROGRAMS = ("unshare", "setpriv", "mount")
_TMP_BYTES = 64 * MEBIBYTE
_STATE_BYTES = 4 * MEBIBYTE
TEMPORARY = ("/tmp", "/dev/shm", "/run/shell")
"""File systems in memory, each sandbox's own."""
_BASH = "/run/bash"
_KEEPER = "/run/keeper"
_EVALUATOR = "/run/command"
"""Bash's messages begin with it."""
_STATE = Path("/run/shell/state")
_MOUNT_POINT = "/mnt"
_OUTSIDE_POINT = "/media"
"""Where root mounts what the further writable directories hold."""
_ROOT_HOME = "/root"
_SYSTEM = "/usr"
_SYSTEM_FIRST = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"

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
    *("--as-pid-1", "--die-with-parent", "--new-session", "--clearenv"),
    *("--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
    *("--setenv", "HOME", "/workspace", "--setenv", "USER", "agent"),
    *("--setenv", "LANG", "C.UTF-8", "--setenv", "TERM", "dumb"),
]
_ETC = {
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/workspace:/bin/bash\n",
    "/etc/group": "root:x:0:\nagent:x:1000:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
}


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line, and the descriptors that it names: inherited once, then to be closed."""

    argv: list[str]
    fds: tuple[int, ...] = ()
    contained: bool = True
    """Bubblewrap stands above the program, which is the first of its process namespace."""

    def close(self) -> None:
        """Close our side; idempotent."""
        for fd in self.fds:
            with suppress(OSError):
                os.close(fd)


def sandboxed_shell(
    workspace: Path, settings: ToolSettings, cgroup_procs: Path | None = None
) -> Launch:
    """A shell's `driver` in a sandbox with `workspace` at /workspace."""
    if settings.bash_sandbox == "unsafe":
        bash = ["bash", "--norc", "--noprofile", str(script(EVALUATOR))]
        program = driver("bash", str(script(KEEPER)), workspace.with_name("shell"), bash)
    else:
        program = driver(_BASH, _KEEPER, _STATE, [_EVALUATOR])
    return sandboxed(program, workspace, settings, cgroup_procs)


def sandboxed(
    program: list[str], workspace: Path, settings: ToolSettings, cgroup_procs: Path | None = None
) -> Launch:
    """What runs `program` in a sandbox with `workspace` at /workspace."""
    if settings.bash_sandbox == "unsafe":
        return Launch([*_limits(settings), *program], contained=False)
    root = os.geteuid() == 0
    files = [(["--file"], text.encode(), [path]) for path, text in _ETC.items()]
    for path, name in {_KEEPER: KEEPER, _EVALUATOR: EVALUATOR}.items():
        files.append((["--perms", "0555", "--ro-bind-data"], script(name).read_bytes(), [path]))
    if code := seccomp.program(platform.machine()):
        files.append((["--seccomp"], code, []))
    # A copy that may be run and not read: the kernel keeps others out of a process that runs it.
    fds = [os.open(shutil.which("bash") or "/bin/bash", os.O_RDONLY)]
    options = ["--dir", "/run", "--perms", "0111", "--ro-bind-data", str(fds[0]), _BASH]
    options += ["--size", str(_STATE_BYTES), "--perms", "0700", "--tmpfs", str(_STATE.parent)]
    for before, content, after in files:
        fds.append(_readable(content))
        options += [*before, str(fds[-1]), *after]
    bind = ["--bind", _MOUNT_POINT if root else str(workspace), "/workspace"]
    outside = Path(_OUTSIDE_POINT) if root else outside_of(workspace)
    for directory in settings.bash_writable:
        kept = bind[1] if directory == _ROOT_HOME else str(outside / _kept_as(directory))
        bind += ["--bind", kept, directory, *_system_part(directory)]
    bwrap = ["bwrap", *_FILE_SYSTEM, *bind, *options, *_ISOLATION]
    if settings.bash_writable:  # what commands put there must not pass for the system's programs
        bwrap += ["--setenv", "PATH", _SYSTEM_FIRST]
    prelude = _prelude(workspace, settings, cgroup_procs, root=root)
    return Launch([*prelude, *bwrap, "--", *_limits(settings), *program], tuple(fds))


def prepare_workspace(workspace: Path, settings: ToolSettings) -> None:
    """Create a work directory that the sandboxed user owns and nobody else can read, and what
    holds the further writable directories. One that a command has closed is opened again: no shell
    could start in it."""
    outside = outside_of(workspace)
    made = [outside, *(outside / _kept_as(directory) for directory in settings.bash_writable)]
    for directory in (workspace, *(made if settings.bash_writable else ())):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if ~(mode := directory.stat().st_mode) & 0o700:
            directory.chmod(mode | 0o700)
        if os.geteuid() == 0 and settings.bash_sandbox != "unsafe":
            os.chown(directory, settings.bash_uid, settings.bash_uid)


def outside_of(workspace: Path) -> Path:
    """Where the contents of the further writable directories are kept, beside the work directory:
    they outlive the shell as it does."""
    return workspace.parent / "outside"


def _system_part(directory: str) -> Iterator[str]:
    """What the system has in a directory that is writable stays as it is: programs above all."""
    if not directory.startswith(_SYSTEM):
        return
    for entry in sorted(Path(directory).iterdir()):
        yield from ("--ro-bind-try", str(entry), str(entry))


def _kept_as(directory: str) -> str:
    return directory.strip("/").replace("/", "-")


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
    limits = [
        f"--as={settings.bash_memory_mb * MEBIBYTE}",
        f"--cpu={settings.bash_cpu_s}",
        f"--fsize={settings.bash_file_mb * MEBIBYTE}",
        "--nofile=256",
        "--sigpending=1024",  # timers too
        "--core=0",
    ]
    if settings.bash_sandbox != "unsafe":  # there, all of the server's own would count
        limits.append(f"--nproc={settings.bash_processes}")
    return ["prlimit", *limits, "--"]


def _prelude(
    workspace: Path, settings: ToolSettings, cgroup_procs: Path | None, *, root: bool
) -> list[str]:
    """What has to happen before bubblewrap: enter the cgroup, reach the directory, drop root."""
    enter = 'echo $$ > "$2" && ' if cgroup_procs else ""
    mount = f'mount --bind "$1" {_MOUNT_POINT} && ' if root else ""
    if root and settings.bash_writable:
        mount += f'mount --bind "$1/../{outside_of(workspace).name}" {_OUTSIDE_POINT} && '
    if not enter and not mount:
        return []
    script = f'{enter}{mount}shift 2 && exec "$@"'
    shell = ["sh", "-c", script, "sh", str(workspace), str(cgroup_procs or "")]
    if not root:
        return shell
    ids = [f"--reuid={settings.bash_uid}", f"--regid={settings.bash_uid}"]
    return [
        *("unshare", "--mount", "--propagation", "private", "--", *shell),
        *("setpriv", *ids, "--clear-groups", "--no-new-privs"),
    ]


def _readable(content: bytes) -> int:
    """A descriptor that `content` can be read from once; it fits into a pipe."""
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return reader
