"""A job's request means settings, its files say what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.fine_tuning import FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from agentlm.errors import OperatorError
from agentlm.finetune import job_process
from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.job_process import JobProgress
from agentlm.finetune.job_settings import settings_of
from agentlm.finetune.settings import FinetuneSettings
from agentlm.jobs.job import Job, JobRequest, unfinished
from agentlm.store.selection import condition_words, parse_query
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    registered,
    renderer,
    trajectory,
    write_log,
)


def job(data_dir: Path, name: str = "ftjob-1", **fields: Any) -> Job:
    directory = data_dir / "jobs" / name
    directory.mkdir(parents=True)
    plain = {"created_at": 1, "owner": "ann", "model": "tiny", "training": "log:"}
    plain |= {"id": name, "fine_tuned_model": "tiny-x"}
    request = JobRequest(**(plain | fields))
    (directory / "request.json").write_text(request.model_dump_json())
    return Job(directory)


def test_a_query_of_the_log_selects_the_owners_rows(tmp_path: Path) -> None:
    asked = job(tmp_path, training="log:environment=db&min_reward=0.5&tags.project=x", n_epochs=2)

    settings = settings_of(asked)

    assert settings.from_logs
    assert (settings.owner, settings.environment, settings.min_reward) == ("ann", "db", 0.5)
    assert settings.tags == {"project": "x"}
    assert settings.epochs == 2
    assert (settings.base, settings.name, settings.data_dir) == ("tiny", "tiny-x", tmp_path)


def test_a_file_and_a_learning_rate_multiplier_are_understood(tmp_path: Path) -> None:
    settings = settings_of(job(tmp_path, training="/x.jsonl", learning_rate_multiplier=0.5))

    assert settings.data == ("/x.jsonl",)
    assert not settings.from_logs
    assert settings.lr == pytest.approx(1e-4)


def test_nobody_selects_another_owners_rows(tmp_path: Path) -> None:
    assert settings_of(job(tmp_path, training="log:owner=bob")).owner == "ann"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"training": "log:enviroment=db"}, "unknown 'enviroment'; known: owner, model, "),
        ({"options": {"lora_rank": 0}}, "lora_rank: input should be greater"),
    ],
)
def test_what_can_not_be_meant_is_said(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(OperatorError, match=message):
        settings_of(job(tmp_path, **fields))


def test_events_and_checkpoints_are_openais(tmp_path: Path) -> None:
    one = job(tmp_path)
    one.tell("Fine-tuning job started")
    one.tell("Step 1/2", step=1, train_loss=0.5)
    one.add_checkpoint("tiny-x", {"step": 1, "loss": 0.5})

    lines = (one.directory / "events.jsonl").read_text().splitlines()
    events = [FineTuningJobEvent.model_validate(json.loads(line)) for line in lines]
    assert [event.type for event in events] == ["message", "metrics"]
    saved = json.loads((one.directory / "checkpoints.jsonl").read_text())
    assert FineTuningJobCheckpoint.model_validate(saved).step_number == 2


def test_what_was_left_out_of_a_file_is_told(tmp_path: Path, chatml_llama: Path) -> None:
    registered(tmp_path, chatml_llama)
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Nobody."}]
    rows = tmp_path / "rows.jsonl"
    broken = ['{"messages": 3}', '{"messages": 4}', "{"]
    rows.write_text("\n\n".join([json.dumps({"messages": turns}), *broken]))
    one = job(tmp_path, training=str(rows), options={"max_malformed": 0.8})
    prepared = prepare(settings_of(one))

    JobProgress(one, prepared, prepared.plan())

    reported = [(event["level"], event["message"]) for event in one.events]
    assert reported[:3] == [
        ("info", "Fine-tuning job started"),
        ("warn", "agent: 4 rows; left out: malformed 3; kept 1"),
        (
            "warn",
            "malformed: rows.jsonl:3: messages: Input should be a valid list, got 3 (2 such rows)",
        ),
    ]
    assert reported[3][1].startswith("malformed: rows.jsonl:7: not JSON: Expecting property name")
    assert reported[3][1].endswith("got '{'")


def test_a_file_of_which_too_much_can_not_be_read_fails_with_the_first_reasons(
    tmp_path: Path, chatml_llama: Path
) -> None:
    registered(tmp_path, chatml_llama)
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Nobody."}]
    good = json.dumps({"messages": turns}) + "\n"
    rows = tmp_path / "rows.jsonl"
    rows.write_text(19 * good + '{"messages": 3}\n')
    assert prepare(settings_of(job(tmp_path, training=str(rows)))).sources()[0].rows.lengths.size

    rows.write_text(18 * good + '{"messages": 3}\n')
    allowed = r"1 of 19 rows of rows.jsonl can't be read, and only 5% may be so \(max-malformed\):"
    with pytest.raises(OperatorError, match=rf"{allowed}\n  rows.jsonl:19: messages: Input"):
        prepare(settings_of(job(tmp_path, "ftjob-2", training=str(rows), fine_tuned_model="y")))


def test_the_command_line_and_a_job_build_the_same_set_of_the_same_file(
    tmp_path: Path, chatml_llama: Path
) -> None:
    registered(tmp_path, chatml_llama)
    instruction = "Is it a fruit, a tool or an animal? Say one word and nothing else. " * 3
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(
            json.dumps({"prompt": instruction + word, "completion": "fruit"}) + "\n"
            for word in ("apple", "pear", "plum", "apple")
        )
    )
    settings = FinetuneSettings(data_dir=tmp_path, base="tiny", data=(str(rows),), name="x")

    by_command = prepare(settings)
    by_job = prepare(settings_of(job(tmp_path, training=str(rows))))

    names = [list(one.sources()[0].rows.names()) for one in (by_command, by_job)]
    assert names == 2 * [[f"rows.jsonl:{line}" for line in (1, 2, 3, 4)]]


@pytest.mark.parametrize(
    ("reached", "code"),
    [("validating_files", "invalid_training_file"), ("running", "server_error")],
)
def test_a_file_is_blamed_only_until_it_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: str, code: str
) -> None:
    def stop(one: Job) -> None:
        one.update(status=reached)
        raise OperatorError("the loss is nan")

    monkeypatch.setattr(job_process, "_work", stop)
    one = job(tmp_path)

    job_process._see_through(one)

    assert one.state.error is not None
    assert one.state.error.code == code


def test_the_log_of_others_is_not_counted_for_an_owner(tmp_path: Path, chatml_llama: Path) -> None:
    registered(tmp_path, chatml_llama)
    steps = conversation(renderer(chatml_llama), "How many?", CALL, ANSWER)
    write_log(tmp_path, [trajectory(steps), trajectory(steps, owner="bob")])

    prepared = prepare(settings_of(job(tmp_path)))

    summary = prepared.run.read("selection.json")["agent"]["summary"]
    assert summary == "1 rows; left out: none; kept 1"


def test_unfinished_jobs_are_found_oldest_first(tmp_path: Path) -> None:
    job(tmp_path, "ftjob-b")
    job(tmp_path, "ftjob-a")
    job(tmp_path, "ftjob-c").update(status="succeeded")
    job(tmp_path, "ftjob-d").update(status="paused")

    assert [one.request.id for one in unfinished(tmp_path)] == ["ftjob-a", "ftjob-b"]


def test_an_empty_query_selects_everything() -> None:
    assert condition_words(parse_query("")) == {}
