"""OpenAI's files and fine-tuning jobs, as its own client asks for them.

A job is trained to its end in `test_whole_loop`; here the queue is held, so that nothing is, or
trainers are killed.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from agentlm.files import exclusive
from agentlm.store import ApiKey
from support.finetune_logs import registered
from support.serving import Running, Serve

ROWS = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "Yes."}]}
    for n in range(4)
]
DATA = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def base(tmp_path: Path, chatml_llama: Path) -> None:
    """The served model's card, in the server's registry."""
    registered(tmp_path, chatml_llama)


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Another job is being trained."""
    with exclusive(data_dir / "jobs" / ".lock"):
        yield


def trainers(job_id: str) -> set[int]:
    """The processes that work on a job."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            words = path.read_bytes().split(b"\0")
            if b"agentlm.finetune.job_process" in words and words[-2].endswith(job_id.encode()):
                found.add(int(path.parent.name))
    return found


async def upload(client: AsyncOpenAI, data: bytes = DATA, purpose: Any = "fine-tune") -> str:
    return (await client.files.create(file=("rows.jsonl", data), purpose=purpose)).id


async def key(running: Running, name: str) -> AsyncOpenAI:
    secret = await running.store.keys.create(ApiKey(name=name))
    return AsyncOpenAI(base_url=f"{running.url}/v1", api_key=secret, max_retries=0)


async def test_a_file_is_kept_listed_and_deleted(serve: Serve) -> None:
    data = DATA * 500
    async with serve() as running:
        files = running.client.files
        kept = await files.create(file=("../rows.jsonl", data), purpose="fine-tune")
        other = await upload(running.client, b"x", "user_data")

        assert (kept.filename, kept.bytes, kept.purpose) == ("rows.jsonl", len(data), "fine-tune")
        assert (await files.content(kept.id)).read() == data
        assert await files.retrieve(kept.id) == kept
        assert {file.id async for file in files.list(limit=1)} == {kept.id, other}
        assert [file.id async for file in files.list(purpose="user_data")] == [other]
        assert (await files.delete(kept.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await files.content(kept.id)


async def test_files_survive_the_server(serve: Serve) -> None:
    async with serve() as running:
        kept = await upload(running.client)
    async with serve() as running:
        assert (await running.client.files.content(kept)).read() == DATA


async def test_another_owners_files_do_not_exist(serve: Serve) -> None:
    async with serve(api_key="root") as running:
        async with await key(running, "ann") as ann, await key(running, "bob") as bob:
            hers = await upload(ann)

            assert [file.id async for file in bob.files.list()] == []
            for forbidden in (bob.files.retrieve, bob.files.content, bob.files.delete):
                with pytest.raises(openai.NotFoundError):
                    await forbidden(hers)
        assert [file.id async for file in running.client.files.list()] == [hers]


async def test_what_is_no_upload_is_refused_and_leaves_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    async with serve(max_file_mb=1) as running:
        with pytest.raises(openai.APIStatusError, match="at most 1048576 bytes"):
            await upload(running.client, b"x" * 1_100_000)
        with pytest.raises(openai.BadRequestError, match="purpose must be one of"):
            await upload(running.client, purpose="fun")
        async with httpx.AsyncClient(base_url=running.url) as web:
            form: Any = {"files": {"file": ("a", b"x")}, "data": {"purpose": "user_data"}}
            others = [
                await web.post("/v1/files", headers={"origin": origin}, **form)
                for origin in (
                    "http://evil.example",
                    "null",
                    "http://localhost",
                    running.url + ".de",
                )
            ]
            own = await web.post("/v1/files", headers={"origin": running.url}, **form)
            await web.delete(f"/v1/files/{own.json()['id']}")
            empty = await web.post("/v1/files", files={"purpose": (None, "fine-tune")})
            kind = {"content-type": "multipart/form-data; boundary=b"}
            part = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx'
            cut = await web.post("/v1/files", headers=kind, content=part)
            none = await web.post("/v1/files", json={})

        assert [page.status_code for page in others] == [403] * 4
        assert [own.status_code, empty.status_code] == [200, 400]
        assert [cut.json()["error"]["message"], none.status_code] == ["the form is cut off", 400]
    assert list((tmp_path / "files").iterdir()) == []


BROKEN = {
    "rows.jsonl has no rows": b"",
    "2 of 6 rows of rows.jsonl can't be read, .*rows.jsonl:5: messages: .*got 3": DATA
    + 2 * b'{"messages": 3}\n',
    "rows.jsonl:1: label: .*got False": json.dumps(ROWS[0] | {"label": False}).encode(),
    "rows.jsonl can't be read: Compressed file ended": gzip.compress(DATA, mtime=0)[:-9],
    "rows.jsonl: row 3 is not JSON": json.dumps(ROWS).encode()[:-99],
    "rows.jsonl:1: not JSON: .*got 'a,b'": b"a,b\n1,2\n",
}


@pytest.mark.parametrize("reason", BROKEN)
async def test_a_file_that_no_job_could_train_on_is_refused_when_it_comes(
    serve: Serve, tmp_path: Path, reason: str
) -> None:
    async with serve() as running:
        with pytest.raises(openai.BadRequestError, match=f"(?s){reason}") as refused:
            await upload(running.client, BROKEN[reason])
        await upload(running.client, BROKEN[reason], "user_data")
        await upload(running.client, gzip.compress(DATA))

        assert refused.value.param == "file"
        assert str(tmp_path) not in str(refused.value)
        assert len([file async for file in running.client.files.list()]) == 2


async def test_a_job_waits_its_turn_and_is_cancelled(
    serve: Serve, tmp_path: Path, base: None
) -> None:
    with held(tmp_path):
        async with serve() as running:
            jobs = running.client.fine_tuning.jobs
            kept = await upload(running.client)
            job = await jobs.create(
                model="tiny",
                training_file=kept,
                suffix="mine",
                seed=7,
                metadata={"project": "x"},
                method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
            )
            other = await jobs.create(model="tiny", training_file="log:min_reward=0.5")

            assert (job.status, job.seed, job.hyperparameters.n_epochs) == ("queued", 7, 2)
            assert [one.id async for one in jobs.list(limit=1)] == [other.id, job.id]
            assert [one.id async for one in jobs.list(metadata={"project": "x"})] == [job.id]
            with pytest.raises(openai.ConflictError, match="needs"):
                await running.client.files.delete(kept)
            ended = [await jobs.cancel(one.id) for one in (job, other)]
            assert [one.status for one in ended] == ["cancelled", "cancelled"]
            assert all(one.finished_at and one.fine_tuned_model is None for one in ended)
            [event] = (await jobs.list_events(job.id)).data
            assert event.message == "The job has been cancelled"
            assert (await jobs.checkpoints.list(job.id)).data == []
            with pytest.raises(openai.BadRequestError, match="is cancelled already"):
                await jobs.cancel(job.id)
            await running.client.files.delete(kept)


async def test_a_job_survives_the_server_and_a_pause(
    serve: Serve, tmp_path: Path, base: None
) -> None:
    with held(tmp_path):
        async with serve() as running:
            jobs = running.client.fine_tuning.jobs
            job = await jobs.create(model="tiny", training_file="log:")
        async with serve() as running:
            jobs = running.client.fine_tuning.jobs
            assert (await jobs.retrieve(job.id)).status == "queued"
            statuses = [await jobs.pause(job.id), await jobs.resume(job.id)]
            statuses.append(await jobs.cancel(job.id))

    assert [one.status for one in statuses] == ["paused", "queued", "cancelled"]


async def test_a_trainer_that_dies_again_and_again_fails_the_job_with_a_reason(
    serve: Serve, base: None
) -> None:
    async with serve() as running:
        jobs = running.client.fine_tuning.jobs
        job = await jobs.create(model="tiny", training_file="log:")
        killed: set[int] = set()
        while job.status != "failed":
            for process in trainers(job.id) - killed:
                os.kill(process, signal.SIGKILL)
                killed.add(process)
            await asyncio.sleep(0.01)
            job = await jobs.retrieve(job.id)

        assert len(killed) == 3
        assert job.error is not None
        assert (job.error.code, job.error.param) == ("server_error", None)
        assert job.error.message == "the trainer died 3 times; its log may say why"
        assert job.finished_at is not None
        [event] = (await jobs.list_events(job.id)).data
        assert (event.level, event.message) == ("error", job.error.message)
        with pytest.raises(openai.BadRequestError, match="is failed already"):
            await jobs.cancel(job.id)
        assert [model.id async for model in running.client.models.list()] == ["tiny"]


@pytest.mark.real
async def test_a_trainer_that_is_killed_once_goes_on_and_succeeds(serve: Serve, base: None) -> None:
    async with serve() as running:
        jobs = running.client.fine_tuning.jobs
        kept = await upload(running.client)
        job = await jobs.create(model="tiny", training_file=kept, hyperparameters={"n_epochs": 2})
        killed = False
        while job.status not in ("failed", "succeeded"):
            if job.status == "running" and not killed:
                [process] = trainers(job.id)
                os.kill(process, signal.SIGKILL)
                killed = True
            await asyncio.sleep(0.05)
            job = await jobs.retrieve(job.id)

        assert (killed, job.status, job.error) == (True, "succeeded", None)
        messages = [event.message async for event in jobs.list_events(job.id)]
        assert messages.count("Fine-tuning job started") == 2
        assert "The job has successfully completed" in messages
        [checkpoint] = (await jobs.checkpoints.list(job.id)).data
        assert checkpoint.fine_tuned_model_checkpoint == job.fine_tuned_model


@pytest.mark.real
async def test_a_file_that_can_not_be_trained_on_fails_the_job_with_a_reason(
    serve: Serve, base: None
) -> None:
    async with serve() as running:
        jobs = running.client.fine_tuning.jobs
        answer = {"role": "assistant", "content": "No.", "weight": 0}
        rows = json.dumps({"messages": [{"role": "user", "content": "?"}, answer]}).encode()
        kept = await upload(running.client, rows)
        job = await jobs.create(model="tiny", training_file=kept)
        while job.status not in ("failed", "succeeded"):
            await asyncio.sleep(0.1)
            job = await jobs.retrieve(job.id)

        assert job.error is not None
        assert job.error.code == "invalid_training_file"
        assert job.error.message.startswith("nothing is left to train on: 1 rows; left out: ")
        assert [model.id async for model in running.client.models.list()] == ["tiny"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"training_file": "file-00000000"}, "training_file"),
        ({"training_file": "../../etc/passwd"}, "training_file"),
        ({"model": "unknown"}, "model"),
        ({"model": "/etc"}, "model"),
        ({"suffix": "a/b"}, "suffix"),
        ({"validation_file": "file-1"}, "validation_file"),
        ({"method": {"type": "dpo"}}, "method.type"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
    ],
)
async def test_what_a_job_can_not_be_is_said_at_once(
    serve: Serve, tmp_path: Path, change: dict[str, Any], param: str
) -> None:
    async with serve() as running:
        asked: Any = {"model": "tiny", "training_file": "log:"} | change
        with pytest.raises(openai.APIStatusError) as caught:
            await running.client.fine_tuning.jobs.create(**asked)

    assert caught.value.status_code in (400, 404)
    assert caught.value.param == param
    assert not (tmp_path / "jobs").exists()


async def test_jobs_are_the_administrators(serve: Serve, tmp_path: Path, base: None) -> None:
    with held(tmp_path):
        async with serve(api_key="root") as running, await key(running, "ann") as ann:
            hers = await upload(ann)
            with pytest.raises(openai.PermissionDeniedError):
                await ann.fine_tuning.jobs.create(model="tiny", training_file=hers)
            jobs = running.client.fine_tuning.jobs
            job = await jobs.create(model="tiny", training_file=hers)
            with pytest.raises(openai.PermissionDeniedError):
                await ann.fine_tuning.jobs.retrieve(job.id)
            await jobs.cancel(job.id)
