"""Getting a model from a hub: a little one that speaks the hub's protocol, and a real client."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def pull(model: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agentlm.cli", "models", "pull", model]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"HF_HOME": str(tmp_path / "hf"), "AGENTLM_DATA_DIR": str(tmp_path / "data")}
    return subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=False
    )


def publish(server: HTTPServer, model: str, directory: Path) -> None:
    """Offer a directory as the hub would."""
    contents = {file.name: file.read_bytes() for file in directory.iterdir()}
    siblings = [{"rfilename": name} for name in contents]
    described = {"id": model, "sha": COMMIT, "siblings": siblings}
    tree = [
        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in contents.items()
    ]
    api = f"/api/models/{model}"
    server.expect_request(f"{api}/revision/main").respond_with_json(described)
    server.expect_request(f"{api}/tree/{COMMIT}").respond_with_json(tree)
    for name, data in contents.items():
        headers = {"ETag": hashlib.sha1(data).hexdigest(), "X-Repo-Commit": COMMIT}
        path = f"/{model}/resolve/{COMMIT}/{name}"
        server.expect_request(path).respond_with_data(data, headers=headers)


def test_a_model_is_downloaded_once_and_then_found_without_network(
    httpserver: HTTPServer, chatml_llama: Path, tmp_path: Path
) -> None:
    publish(httpserver, "org/tiny", chatml_llama)
    first = pull("org/tiny", tmp_path, HF_ENDPOINT=httpserver.url_for(""))
    assert first.returncode == 0, first.stderr
    assert f"org/tiny is ready in {tmp_path}/hf/hub" in first.stdout
    again = pull("org/tiny", tmp_path, HF_HUB_OFFLINE="1")
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, "the hub has no model org/x (or it is private"),
        (403, {"X-Error-Code": "GatedRepo"}, "org/x is gated: accept its terms"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "org/x has no revision main on the hub"),
        (500, {}, "the model hub can't be reached to get org/x (Server error '500"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_line(
    httpserver: HTTPServer, tmp_path: Path, status: int, headers: dict[str, str], message: str
) -> None:
    answer = json.dumps({"error": "no"})
    httpserver.expect_request("/api/models/org/x/revision/main").respond_with_data(
        answer, status, headers, content_type="application/json"
    )
    refused = pull("org/x", tmp_path, HF_ENDPOINT=httpserver.url_for(""))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"agentlm: {message}")
    assert refused.stderr.count("\n") == 1


def test_an_unreachable_hub_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = pull("agentlm-7b", tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert refused.returncode == 2
    assert refused.stderr == (
        "agentlm: the model hub can't be reached to get zai-org/agentlm-7b (Connection refused), "
        "and no complete copy of it is in the local cache\n"
    )
    offline = pull("agentlm-7b", tmp_path, HF_HUB_OFFLINE="1")
    assert offline.returncode == 2
    assert "HF_HUB_OFFLINE forbids" in offline.stderr
