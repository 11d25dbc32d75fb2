"""A job's process trains, survives being killed, and ends when it is asked to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlm.jobs.job import Job, JobRequest
from agentlm.jobs.kept_files import KeptFiles
from agentlm.models.registry import Registry
from agentlm.prompt.render import Renderer
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    trajectory,
    write_log,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

QUICK = {"max_steps": 8, "batch_size": 1, "save_every": 2, "lr": 0.01}


@pytest.fixture
def data_dir(data_dir: Path, by: Renderer) -> Path:
    tasks = ("How many programs start with z?", "How many programs are there?")
    write_log(data_dir, [trajectory(conversation(by, task, CALL, ANSWER)) for task in tasks])
    return data_dir


def request(data_dir: Path, **options: object) -> Job:
    """A job as the server would write it."""
    directory = data_dir / "jobs" / "ftjob-0123456789abcdef"
    directory.mkdir(parents=True)
    asked = JobRequest(
        id="ftjob-0123456789abcdef",
        created_at=int(time.time()),
        owner="ann",
        model="tiny",
        fine_tuned_model="tiny-job",
        training="log:",
        options=QUICK | options,
    )
    (directory / "request.json").write_text(asked.model_dump_json())
    return Job(directory)


def start(job: Job) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "agentlm.finetune.job_process", str(job.directory)],
        stderr=subprocess.DEVNULL,
    )


def wait_until(true: Callable[[], bool], deadline_s: float = 240) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_killed_job_goes_on_and_ends_with_a_registered_model(data_dir: Path) -> None:
    job = request(data_dir)
    with start(job) as process:
        wait_until(lambda: job.state.pid == process.pid)
        # What a server that comes up again starts waits for the one that is there.
        second = start(job)
        wait_until((data_dir / "runs" / "tiny-job" / "checkpoints" / "latest").exists)
        assert job.state.pid == process.pid
        process.send_signal(signal.SIGKILL)

    assert second.wait() == 0

    state = job.state
    assert (state.status, state.fine_tuned_model, state.error) == ("succeeded", "tiny-job", None)
    assert Registry(data_dir).get("tiny-job").parent == "tiny"
    assert state.trained_tokens
    assert state.result_file is not None
    files = KeptFiles(data_dir)
    results = files.content(files.get(state.result_file, "ann"))
    assert results.read_text().count("\n") == 9
    events = (job.directory / "events.jsonl").read_text().splitlines()
    messages = [json.loads(event)["message"] for event in events]
    assert messages[-2:] == [
        "New fine-tuned model created: tiny-job",
        "The job has successfully completed",
    ]


def test_a_job_that_is_cancelled_ends_at_once_and_stays_so(data_dir: Path) -> None:
    job = request(data_dir, max_steps=100_000)
    with start(job) as process:
        wait_until(lambda: (data_dir / "runs" / "tiny-job" / "metrics.jsonl").exists())
        (job.directory / "cancel").touch()
        process.terminate()
    assert job.state.status == "cancelled"

    assert start(job).wait() == 0

    assert job.state.status == "cancelled"
