"""What is built from the project installs, and its commands run."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"core": "agentlm"} | {
    name: f"agentlm/{name}" for name in ("server", "finetune", "tools", "environments", "clients")
}

NOT_PACKAGED = shutil.ignore_patterns("__pycache__", "node_modules")
SOURCE_OF_THE_PAGE = ROOT / "server/ui"
"""Of which a wheel has what it is built into."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # In a copy: setuptools builds in the tree, where the editable installation lives.
    source = tmp_path_factory.mktemp("source")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=NOT_PACKAGED)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist")
    run(*command, cwd=source)
    (built,) = (source / "dist").glob("agentlm-*.whl")
    return built


def test_the_wheel_holds_every_file_of_every_folder(wheel: Path) -> None:
    wanted = {
        f"{package}/{file.relative_to(ROOT / folder)}"
        for folder, package in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and _packaged(file)
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert wanted - held == set()
    packaged = {name for name in held if name.startswith("agentlm/")}
    assert packaged - wanted == set()


def _packaged(file: Path) -> bool:
    built = SOURCE_OF_THE_PAGE / "dist"
    return not file.is_relative_to(SOURCE_OF_THE_PAGE) or file.is_relative_to(built)


def test_the_wheel_says_its_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    about = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
    assert "License-Expression: Apache-2.0" in archive.read(about["METADATA"]).decode()
    assert archive.read(about["LICENSE"]) == (ROOT / "LICENSE").read_bytes()


def test_the_installed_commands_run(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel)
    # What it depends on is there already; the editable installation is not among it.
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    bin_dir = tmp_path / "venv/bin"
    where = run(python, "-c", "import agentlm; print(agentlm.__file__)", cwd=tmp_path)
    assert where.startswith(str(site))
    assert "usage: agentlm COMMAND" in run(bin_dir / "agentlm", "--help")
    listed = run(bin_dir / "agentlm", "models", "list", "--data-dir", tmp_path / "data")
    assert "smollm2-135m" in listed
    assert "usage: agentlm" in run(bin_dir / "agentlm-serve", "--help")
    assert "usage: agentlm" in run(bin_dir / "agentlm-finetune", "--help")
