"""How a server starts and ends: what is wrong cheaply is said first, and to stop it is no error."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentlm.errors import NotFoundError, OperatorError
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.server import cli, serving
from agentlm.server.vllm import memory
from support.processes import interruptible


def refusal(directory: Path, *argv: str) -> str:
    """What a start that is refused says, without having imported vLLM."""
    before = set(sys.modules)
    with pytest.raises((OperatorError, NotFoundError)) as refused:
        cli.main(["--data-dir", str(directory), *argv])
    assert "vllm" not in set(sys.modules) - before
    return str(refused.value)


def test_a_taken_port_is_said_with_the_flag_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refusal(tmp_path, "--port", str(port))
    assert message.startswith(f"can't listen on 127.0.0.1:{port}: ")
    assert message.endswith("give another --port")


def test_a_full_disk_is_said_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))
    assert "only 5 MiB are free" in refusal(tmp_path, "--port", "0")


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_too_little_memory_is_said_before_anything_is_loaded(
    tmp_path: Path, chatml_llama: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(serving, "is_cpu_build", lambda: True)
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    message = refusal(tmp_path, "--port", "0", "--model", str(chatml_llama))
    assert message.startswith("not enough memory")
    assert "\n" not in message


def test_a_misspelt_flag_of_vllm_is_said_before_anything_is_loaded(
    tmp_path: Path, chatml_llama: Path
) -> None:
    message = refusal(tmp_path, "--port", "0", "--model", str(chatml_llama), "--max-num-seq", "3")
    assert message == "unknown argument --max-num-seq; did you mean --max-num-seqs?"


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--host", "0.0.0.0", "is reachable from other machines"),
        ("--cors-origins", "*", "any web page could run commands here"),
        ("--tools", "chess", "unknown tools chess; known: bash, "),
        ("--tool-files", "nothere.py", "there is no Python file"),
        ("--tool-policy", "nothere.yaml", "tool_policy: nothere.yaml: No such file"),
        ("--mcp-config", "nothere.json", "nothere.json"),
        ("--store-url", "sqlite:////proc/nothere/log.db", "there is no such directory"),
    ],
)
def test_a_wrong_value_is_said_before_vllm_is_imported(
    tmp_path: Path,
    chatml_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setattr(serving, "is_cpu_build", lambda: False)
    refused = refusal(tmp_path, "--port", "0", "--model", str(chatml_llama), flag, value)
    assert message in refused


def test_a_server_that_is_interrupted_says_that_it_stops_and_succeeds(tmp_path: Path) -> None:
    card = ModelCard(name="teacher", source="upstream", location="http://127.0.0.1:9/v1")
    Registry(tmp_path).add(card)
    flags = ["--data-dir", tmp_path, "--model", "teacher", "--port", "0", "--tools", "sql"]
    server = subprocess.Popen(
        [sys.executable, "-m", "agentlm.cli", "serve", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )
    assert server.stdout is not None
    while "is served at" not in server.stdout.readline():
        assert server.poll() is None
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate()
    assert errors.splitlines()[-2].startswith("stopping; ")
    assert errors.splitlines()[-1] == "stopped"
    assert server.returncode == 0
