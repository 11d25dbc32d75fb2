"""Files that go into a conversation's work directory over HTTP, and come out of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from agentlm.store import ApiKey, Store
from support.serving import Running, Serve

HI: Any = [{"role": "user", "content": "Hi"}]
BASH: Any = [{"type": "bash"}]
DONE = "Thought: t\nFinal Answer: Done."


def command(text: str) -> str:
    return f'Thought: I run it.\nAction: bash\nAction Input: {{"command": "{text}"}}'


async def converse(running: Running, messages: Any = HI, tools: Any = BASH) -> str:
    """One more turn; returns the trajectory's id."""
    raw = await running.client.chat.completions.with_raw_response.create(
        model="tiny", messages=messages, tools=tools
    )
    return raw.headers["x-trajectory-id"]


def files_of(running: Running, trajectory_id: str) -> str:
    return f"{running.url}/v1/trajectories/{trajectory_id}/files"


async def test_a_file_goes_in_is_worked_on_and_comes_out(serve: Serve) -> None:
    replies = (DONE, command("tac data/in.csv > out.csv"), DONE)
    async with serve(*replies, tools=("bash",)) as running, httpx.AsyncClient() as client:
        trajectory_id = await converse(running)
        files = files_of(running, trajectory_id)
        put = await client.put(f"{files}/data/in.csv", content=b"a,b\n1,2\n")
        assert put.json() == {"object": "trajectory.file", "path": "data/in.csv", "bytes": 8}

        follow_up = [*HI, {"role": "assistant", "content": "Done."}, *HI]
        assert await converse(running, follow_up) == trajectory_id
        listed = (await client.get(files)).json()["data"]
        assert [(file["path"], file["bytes"]) for file in listed] == [
            ("data/in.csv", 8),
            ("out.csv", 8),
        ]
        got = await client.get(f"{files}/out.csv")
        assert got.content == b"1,2\na,b\n"
        assert got.headers["content-type"] == "application/octet-stream"
        assert got.headers["content-disposition"].startswith("attachment")


async def test_files_of_the_api_are_handed_in_before_the_first_command(serve: Serve) -> None:
    replies = (command("cat in.csv; echo mine > in.csv"), DONE) * 2
    async with serve(*replies, tools=("bash",)) as running, httpx.AsyncClient() as client:
        kept = await running.client.files.create(file=("in.csv", b"a,b"), purpose="user_data")
        tools: Any = [{"type": "bash", "file_ids": [kept.id]}]
        trajectory_id = await converse(running, tools=tools)
        assert "a,b" in running.trajectory(trajectory_id).steps[-2].text

        follow_up = [*HI, {"role": "assistant", "content": "Done."}, *HI]
        assert await converse(running, follow_up, tools) == trajectory_id
        got = await client.get(f"{files_of(running, trajectory_id)}/in.csv")
        assert got.content == b"mine\n"


async def test_files_that_can_not_be_handed_in_are_refused(serve: Serve) -> None:
    async with serve(DONE, tools=("bash", "sql"), bash_disk_mb=1) as running:
        create = running.client.files.create
        first = await create(file=("x", b"1"), purpose="user_data")
        second = await create(file=("x", b"2"), purpose="user_data")
        large = await create(file=("large", bytes(2**21)), purpose="user_data")
        for tool, ids, message in [
            ("bash", ["file-0123456789"], "there is no file"),
            ("bash", [first.id, second.id], "two files are called 'x'"),
            ("bash", [large.id], "bytes are left"),
            ("sql", [first.id], "sql does not"),
        ]:
            with pytest.raises(openai.APIStatusError, match=message):
                await converse(running, tools=[{"type": tool, "file_ids": ids}])


async def test_a_large_file_goes_through_in_parts(serve: Serve) -> None:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield os.urandom(2**20)

    async with (
        serve(DONE, tools=("bash",), max_request_mb=1) as running,
        httpx.AsyncClient() as client,
    ):
        file = f"{files_of(running, await converse(running))}/big"
        assert (await client.put(file, content=content())).json()["bytes"] == 40 << 20
        async with client.stream("GET", file) as answer:
            parts = [len(part) async for part in answer.aiter_raw()]
        assert sum(parts) == 40 << 20
        assert max(parts) <= 2**20


async def test_what_does_not_fit_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    async with (
        serve(DONE, tools=("bash",), bash_disk_mb=1) as running,
        httpx.AsyncClient() as client,
    ):
        trajectory_id = await converse(running)
        files = files_of(running, trajectory_id)
        answer = await client.put(f"{files}/big", content=bytes(2**21))
        assert answer.status_code == 400
        assert "bytes are left" in answer.json()["error"]["message"]
        assert (await client.get(files)).json()["data"] == []
    beside = (tmp_path / "sandboxes" / trajectory_id).iterdir()
    assert [path.name for path in beside] == ["workspace"]


async def test_no_name_leads_out_of_the_work_directory(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    links = f"ln -s {tmp_path}/secret link; ln -s {tmp_path} d; mkfifo pipe; mkdir e"
    names = ["..%2f..%2fx", "%2fetc%2fpasswd", "a%2f..%2f..%2fx", "a%00b", "", "d/secret", "e"]
    async with (
        serve(command(links), DONE, tools=("bash",)) as running,
        httpx.AsyncClient() as client,
    ):
        files = files_of(running, await converse(running))
        for name in [*names, "link", "pipe"]:
            got = await client.get(f"{files}/{name}")
            assert got.status_code in (400, 404), name
        for name in names:
            put = await client.put(f"{files}/{name}", content=b"mine")
            assert put.status_code in (400, 404), name
        for name in ["a/" * 100 + "b", "a%0ab", "a%1b%5b2J", "%ff", "x" * 300, "%e2%80%aeb"]:
            assert (await client.put(f"{files}/{name}", content=b"mine")).status_code in (400, 404)
        assert (await client.get(files)).status_code == 200
        assert (await client.put(f"{files}/link", content=b"mine")).status_code == 200
        assert (await client.get(f"{files}/link")).content == b"mine"
    assert (tmp_path / "secret").read_text() == "secret"


async def test_nobody_elses_files_are_there(serve: Serve, tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    ann = await store.keys.create(ApiKey(name="ann", tools=("bash",)))
    eve = await store.keys.create(ApiKey(name="eve"))
    dan = await store.keys.create(ApiKey(name="dan", tools=()))
    store.close()
    async with serve(DONE, tools=("bash",)) as running, httpx.AsyncClient() as client:
        running.client.api_key = ann
        files = files_of(running, await converse(running))

        async def statuses(secret: str) -> list[int]:
            headers = {"authorization": f"Bearer {secret}"}
            return [
                (await client.put(f"{files}/x", content=b"x", headers=headers)).status_code,
                (await client.get(f"{files}/x", headers=headers)).status_code,
                (await client.get(files, headers=headers)).status_code,
                (await client.delete(files.removesuffix("/files"), headers=headers)).status_code,
            ]

        assert await statuses(eve) == [404] * 4
        assert await statuses(dan) == [404] * 4
        assert await statuses(ann) == [200] * 4


async def test_a_deleted_conversation_leaves_no_files(serve: Serve, tmp_path: Path) -> None:
    replies = [command("echo x > x"), DONE] * 2
    async with serve(*replies, tools=("bash",)) as running, httpx.AsyncClient() as client:
        trajectory_id = await converse(running)
        stored = await running.client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Ho"}], tools=BASH, store=True
        )
        kept = {path.name for path in (tmp_path / "sandboxes").glob("traj_*")}
        assert trajectory_id in kept
        assert len(kept) == 2
        await client.delete(f"{running.url}/v1/trajectories/{trajectory_id}")
        await running.client.chat.completions.delete(stored.id)
        assert not list((tmp_path / "sandboxes").glob("traj_*"))
        assert running.trajectories() == []


async def test_a_conversation_deleted_by_a_server_without_bash_leaves_no_files(
    serve: Serve, tmp_path: Path
) -> None:
    async with serve(DONE) as running, httpx.AsyncClient() as client:
        await running.client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Ho"}]
        )
        [trajectory] = running.trajectories()
        left = tmp_path / "sandboxes" / trajectory.id / "workspace"
        left.mkdir(parents=True)
        (left / "file").write_text("x")
        await client.delete(f"{running.url}/v1/trajectories/{trajectory.id}")
    assert not left.parent.exists()
