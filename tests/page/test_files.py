"""The page's files: sent as they were built, to everybody, and nothing else of the disk."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx
import pytest

from agentlm.server.routes import page
from support.serving import Serve

LARGEST_BYTES = 600_000


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something like what the bundler leaves."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    for name in ("index.html", "assets/index-abc.js", "assets/index-abc.css"):
        (folder / name).write_text(f"this is {name}")
        (folder / f"{name}.gz").write_bytes(gzip.compress(f"this is {name}".encode()))
    (folder / "assets/notes.txt").write_text("not the page's")
    (folder / "secret.js").write_text("not an asset")
    monkeypatch.setattr(page, "BUILT", folder)
    return folder


async def test_the_page_needs_no_key_and_runs_only_its_own_files(serve: Serve, built: Path) -> None:
    async with serve(api_key="root") as server, httpx.AsyncClient() as http:
        answer = await http.get(server.url)
        listed = await http.get(f"{server.url}/v1/trajectories")

    assert (answer.status_code, answer.text) == (200, "this is index.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert listed.status_code == 401


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_a_file_is_kept_for_good_and_sent_compressed(
    serve: Serve, built: Path, coding: str
) -> None:
    async with serve() as server, httpx.AsyncClient() as http:
        answer = await http.get(
            f"{server.url}/assets/index-abc.js", headers={"accept-encoding": coding}
        )

    assert answer.text == "this is assets/index-abc.js"
    assert answer.headers.get("content-encoding", "identity") == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/..%2fsecret.js",
        "/assets/../secret.js",
        "/assets/notes.txt",
        "/assets/index-abc.js.gz",
        "/assets/index-xyz.js",
        "/assets/",
        "/assets/%00.js",
        "/assets/" + "a" * 5000 + ".js",
        "/index.html",
    ],
)
async def test_nothing_else_is_sent(serve: Serve, built: Path, path: str) -> None:
    async with serve() as server, httpx.AsyncClient() as http:
        answer = await http.get(httpx.URL(server.url).copy_with(raw_path=path.encode()))

    assert answer.status_code == 404
    assert "not the page's" not in answer.text
    assert "not an asset" not in answer.text


async def test_a_server_whose_page_was_not_built_says_so(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "BUILT", tmp_path / "none")
    async with serve() as server, httpx.AsyncClient() as http:
        answer = await http.get(server.url)

    assert answer.status_code == 200
    assert "make page" in answer.text


async def test_a_key_is_told_what_it_may_do(serve: Serve) -> None:
    async with serve(api_key="root") as server, httpx.AsyncClient() as http:
        answer = await http.get(f"{server.url}/v1/key", headers={"authorization": "Bearer root"})

    assert answer.json() == {
        "name": "default",
        "admin": True,
        "may_decide": True,
        "tools": ["bash"],
        "needed": True,
    }


def test_what_a_browser_loads_is_small() -> None:
    """Every page of it, compressed."""
    if not (page.BUILT / "index.html").exists():
        pytest.skip("the page was not built (make page)")
    files = [page.BUILT / "index.html.gz", *(page.BUILT / "assets").glob("*.gz")]
    assert 50_000 < sum(file.stat().st_size for file in files) <= LARGEST_BYTES
