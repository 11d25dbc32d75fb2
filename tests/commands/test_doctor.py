"""`agentlm doctor`: what has to be mended is named, and the exit code says that something has."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from agentlm.commands import doctor
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.server.vllm import memory
from agentlm.store import Store
from agentlm.tools.shell.bash import Bash


def examine(directory: Path) -> int:
    return doctor.main(["--data-dir", str(directory)])


def test_a_fresh_machine_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(tmp_path) == 0
    output = capsys.readouterr().out
    assert output.count("ok ") == len(doctor.CHECKS)
    assert "commands run confined" in output
    assert "none yet" in output
    assert not (tmp_path / "agentlm.db").exists()


@pytest.mark.parametrize(
    ("cgroup", "holder"), [(Path("/sys/fs/cgroup/ours"), "held by the kernel"), (None, "watched")]
)
def test_who_holds_commands_to_their_limits_is_told(
    monkeypatch: pytest.MonkeyPatch, cgroup: Path | None, holder: str
) -> None:
    monkeypatch.setattr(
        Bash, "open", AsyncMock(return_value=AsyncMock(**{"run.return_value": "works"}))
    )
    monkeypatch.setattr(doctor, "delegated", lambda: cgroup)

    assert holder in doctor.check_sandbox(doctor.DoctorSettings())


def test_commands_without_a_sandbox_are_not_called_confined(tmp_path: Path) -> None:
    settings = doctor.DoctorSettings(data_dir=tmp_path, bash_sandbox="unsafe")

    assert "without a sandbox" in doctor.check_sandbox(settings)


def test_a_log_elsewhere_is_not_made_by_looking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "elsewhere.db"

    assert doctor.main(["--data-dir", str(tmp_path), "--store-url", f"sqlite:///{log}"]) == 0
    assert "none yet" in capsys.readouterr().out
    assert not log.exists()


def test_a_log_and_a_model_that_are_in_order_are_well(
    tmp_path: Path, chatml_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}").close()
    Registry(tmp_path).add(ModelCard(name="mine", source="local", location=str(chatml_llama)))

    assert examine(tmp_path) == 0
    assert "1 registered" in capsys.readouterr().out


def test_every_fault_is_named(
    tmp_path: Path,
    chatml_llama: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tmp_path / "model"
    model.symlink_to(chatml_llama)
    Registry(tmp_path).add(ModelCard(name="mine", source="local", location=str(model)))
    model.unlink()
    (tmp_path / "agentlm.db").write_text("no database at all, but long enough to look like one")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 1 << 60)

    assert examine(tmp_path) == 1
    bad = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BAD")]
    assert [line.split()[1] for line in bad] == ["disk", "log", "sandbox", "models"]


def test_a_log_of_a_newer_program_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "agentlm.db"
    Store.open(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")

    assert examine(tmp_path) == 1


def bad(directory: Path, capsys: pytest.CaptureFixture[str], *flags: object) -> str:
    """The one line that is said of what was given."""
    assert doctor.main(["--data-dir", str(directory), *map(str, flags)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BAD")]
    assert len(lines) == 1
    return lines[0]


def test_what_is_given_is_checked(
    tmp_path: Path,
    chatml_llama: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tools.py").write_text("def weather(:")
    assert "tools.py" in bad(tmp_path, capsys, "--tool-files", tmp_path / "tools.py")
    assert "knowledge graph" in bad(tmp_path, capsys, "--graph", tmp_path / "graph")
    assert "nothere" in bad(tmp_path, capsys, "--model", "./nothere")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert str(port) in bad(tmp_path, capsys, "--port", port)
    monkeypatch.setattr(doctor, "is_cpu_build", lambda: True)
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)
    assert "not enough memory" in bad(tmp_path, capsys, "--model", chatml_llama)


def test_what_is_given_and_in_order_is_well(
    tmp_path: Path, chatml_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = tmp_path / "tools.py"
    tool.write_text(
        'def weather(city: str) -> str:\n    """Tell the weather."""\n    return city\n'
    )
    flags = ["--tool-files", tool, "--model", chatml_llama, "--port", 0, "--tools", "sql"]
    assert doctor.main(["--data-dir", str(tmp_path), *map(str, flags)]) == 0
    printed = capsys.readouterr().out
    assert "0 is free" in printed
    assert "sql; tools is configured, but --tools does not name it" in printed
