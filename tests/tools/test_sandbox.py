import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlm.tools.confinement.seccomp import program
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bubblewrap import prepare_workspace, sandboxed
from agentlm.tools.shell.cgroup import Cgroup, delegated
from agentlm.tools.shell.sandbox import Sandbox

MakeSettings = Callable[..., ToolSettings]

AS_A_USER = """
import asyncio, sys
from pathlib import Path
from agentlm.agent import ToolContext
from agentlm.tools.shell.bash import Bash, BashArgs
from agentlm.tools.settings import ToolSettings

async def main():
    bash = await Bash.open(ToolSettings(data_dir=Path(sys.argv[1])))
    command = "id -un; touch file && ls; mkdir closed; chmod 0 closed; ls / | wc -l"
    print(await bash.run(BashArgs(command=command), ToolContext("traj_1", "me")))
    reach = "(cat /proc/1/{environ,maps} /proc/$$/mem; ls /proc/1/fd) 2>&- || echo none"
    print(await bash.run(BashArgs(command=reach), ToolContext("traj_1", "me")))
    await bash.release("traj_1")
    await bash.close()

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs every test as one")
def test_an_ordinary_user_can_sandbox_too(tmp_path: Path) -> None:
    home = Path("/var/tmp") / f"agentlm-{os.getpid()}"
    home.mkdir()
    os.chown(home, 65531, 65531)
    drop = ["setpriv", "--reuid=65531", "--regid=65531", "--clear-groups"]
    paths = [
        path for path in sys.path if "site-packages" in path or (Path(path) / "agentlm").is_dir()
    ]
    try:
        done = subprocess.run(
            [*drop, "/usr/bin/python3", "-c", AS_A_USER, str(home)],
            env={"PYTHONPATH": os.pathsep.join(paths), "PATH": os.defpath, "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(home)
    if "No module named" in done.stderr and "agentlm" not in done.stderr.splitlines()[-1]:
        pytest.skip("the environment of these tests is root's own")
    assert done.stdout == "agent\nfile\n11\nnone\n", done.stderr


async def test_the_system_knows_its_user_and_localhost(
    tmp_path: Path, make_settings: MakeSettings
) -> None:
    sandbox = Sandbox(tmp_path / "box", make_settings())
    result = await sandbox.run("whoami; getent hosts localhost; cat /etc/hostname 2>&1")
    await sandbox.end("done")
    assert result.finished.output.startswith("agent\n")
    assert "localhost" in result.finished.output


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_a_program_whose_jumps_stay_inside(machine: str) -> None:
    code = program(machine)
    assert code is not None
    lines = [code[start : start + 8] for start in range(0, len(code), 8)]
    assert len(lines) < 4096
    for index, line in enumerate(lines):
        assert index + max(line[2], line[3]) < len(lines)
    assert program("pdp11") is None


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers are this machine's")
async def test_forbidden_calls_fail_inside(tmp_path: Path, make_settings: MakeSettings) -> None:
    calls = {"keyctl": 250, "unshare": 272, "memfd_create": 319, "io_uring_setup": 425, "bpf": 321}
    calls |= {"io_setup": 206, "inotify_init1": 294, "fanotify_init": 300, "mq_open": 240}
    script = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        f"for number in {list(calls.values())}:\n"
        "    print(libc.syscall(number, 0, 0, 0), ctypes.get_errno(), end=' ')\n"
        "for family in (40, 17, 31):\n"  # vsock, packet, bluetooth
        "    print(libc.socket(family, 1, 0), ctypes.get_errno(), end=' ')\n"
    )
    sandbox = Sandbox(tmp_path / "box", make_settings())
    result = await sandbox.run(f'/usr/bin/python3 -c "{script}"')
    await sandbox.end("done")
    assert result.finished.output.split() == ["-1", "1"] * 12


def test_a_delegated_cgroup_is_found_and_used(tmp_path: Path, make_settings: MakeSettings) -> None:
    service = tmp_path / "system.slice" / "agentlm.service"
    (service / "server").mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("0::/system.slice/agentlm.service/server\n")
    assert delegated(own, tmp_path) is None
    (service / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert delegated(own, tmp_path) == service
    cgroup = Cgroup(service / "box", memory_bytes=1 << 20, processes=8)
    assert (service / "box" / "memory.max").read_text() == "1048576"
    workspace = tmp_path / "workspace"
    prepare_workspace(workspace, make_settings())
    launch = sandboxed(["true"], workspace, make_settings(), cgroup.procs)
    subprocess.run(launch.argv, pass_fds=launch.fds, check=True)
    launch.close()
    assert cgroup.procs.read_text().strip().isdigit()


@pytest.mark.parametrize("text", ["1:cpu:/\n0::/\n", "3:memory:/\n"])
def test_without_delegation_there_is_no_cgroup(tmp_path: Path, text: str) -> None:
    own = tmp_path / "own"
    own.write_text(text)
    assert delegated(own, tmp_path) is None
