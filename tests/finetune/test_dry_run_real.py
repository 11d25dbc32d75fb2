"""The paper's recipes go through on a tiny model: the whole way, and nothing of it stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from agentlm.models.registry import Registry
from support.finetune_logs import registered

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

AGENT = {
    "id": "os_1",
    "conversations": [
        {"from": "human", "loss": None, "value": "How many programs are in /usr/bin?"},
        {"from": "gpt", "loss": True, "value": "Think: I count them.\n\nAct: bash\n\nls | wc -l"},
        {"from": "human", "loss": None, "value": "The output of the OS:\n12"},
        {"from": "gpt", "loss": True, "value": "Think: Done.\n\nAct: answer(12)"},
    ],
}
CHAT = {
    "conversations": [
        {"from": "human", "value": "What is the capital of France?"},
        {"from": "gpt", "value": "It is Paris."},
    ]
}


# 13b differs from 70b in nothing that a dry run could tell.
@pytest.mark.parametrize("size", ["7b", "70b"])
def test_a_recipe_goes_through_on_a_tiny_model(
    tmp_path: Path, llama2_llama: Path, httpserver: HTTPServer, size: str
) -> None:
    row = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "Paris"},
    }
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [row]}
    httpserver.expect_request("/v1/chat/completions").respond_with_json(answer)
    registered(tmp_path, llama2_llama, f"llama-2-{size}-chat", template="llama2")
    (tmp_path / "agent.jsonl").write_text(3 * (json.dumps(AGENT) + "\n"))
    (tmp_path / "chats.jsonl").write_text(3 * (json.dumps(CHAT) + "\n"))
    flags = ["--config", f"agentlm-{size}", "--dry-run", "--data-dir", str(tmp_path)]
    flags += ["--data", str(tmp_path / "agent.jsonl")]
    flags += ["--general", f"rehearse:{tmp_path / 'chats.jsonl'}=4"]
    flags += ["--publish", httpserver.url_for("/")]

    done = subprocess.run(
        [sys.executable, "-m", "agentlm.finetune", *flags],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "step 2/2" in done.stderr
    assert "the dry run went through" in done.stderr
    assert {request.get_json()["model"] for request, _ in httpserver.log} == {
        f"llama-2-{size}-chat"
    }
    kept = [path.name for path in (tmp_path / "runs").glob("*dry-run*")]
    assert kept == [".dry-run.lock"]
    assert "dry-run" not in {card.name for card in Registry(tmp_path).list()}


def test_a_dry_run_names_the_file_that_is_not_there(tmp_path: Path, llama2_llama: Path) -> None:
    registered(tmp_path, llama2_llama, "llama-2-7b-chat", template="llama2")
    flags = ["--config", "agentlm-7b", "--dry-run", "--data-dir", str(tmp_path)]

    done = subprocess.run(
        [sys.executable, "-m", "agentlm.finetune", *flags, "--data", "missing.jsonl"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "there is no file missing.jsonl" in done.stderr
