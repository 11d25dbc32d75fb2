"""`agentlm data check`: what a file would come to, said without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlm.cli import main
from agentlm.exchange import to_record
from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.main import describe
from agentlm.finetune.settings import FinetuneSettings
from agentlm.prompt.render import Renderer
from support.finetune_logs import ANSWER, conversation, registered, trajectory


def chat(answer: str, **row: Any) -> str:
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns} | row)


LINES = [
    chat("Nobody."),
    chat("Nobody.", label=False),
    "",
    chat("Ann.", label=True),
    "{broken",
    chat("", weights=None),
]


@pytest.fixture
def rows(tmp_path: Path, chatml_llama: Path) -> Path:
    registered(tmp_path, chatml_llama)
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(LINES))
    return path


def check(*argv: str, data_dir: Path) -> int:
    return main(["data", "check", *argv, "--base", "tiny", "--data-dir", str(data_dir)])


def test_it_says_what_is_left_out_and_shows_a_row_with_what_is_learnt(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))

    code = check(str(rows), data_dir=tmp_path)

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0] == f"{rows}: 5 rows; left out: malformed 4; kept 1"
    assert lines[1].endswith(" of them trained on")
    assert lines[2] == (
        "  a run would not take this file: 4 of 5 rows can't be read, and only 5% may be so "
        "(--max-malformed)"
    )
    assert lines[3].startswith("  malformed: rows.jsonl:2: label: it could change what is learnt")
    assert lines[3].endswith("(2 such rows)")
    assert lines[4].startswith("  malformed: rows.jsonl:5: not JSON: ")
    assert lines[5].startswith("  malformed: rows.jsonl:6: messages.1: the assistant says nothing")
    assert lines[6:] == [
        "",
        "rows.jsonl:1:",
        "<|im_start|>user",
        "Who?<|im_end|>",
        "<|im_start|>assistant",
        "⟦Nobody.<|im_end|>⟧",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_what_it_counts_is_what_a_run_takes(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = {"max_malformed": 0.5, "ignore_keys": ("label",)}
    settings: dict[str, Any] = {"data_dir": tmp_path, "base": "tiny", "data": (str(rows),)}
    [source] = prepare(FinetuneSettings(**settings, **reading)).sources()

    code = check(str(rows), "--ignore-keys", "label", "--max-malformed", "0.5", data_dir=tmp_path)

    output = capsys.readouterr().out
    assert code == 0
    assert f"{rows}: 5 rows; left out: malformed 2; kept {len(source.rows)}\n" in output
    assert f"  {source.rows.lengths.sum()} tokens, {source.rows.trained.sum()} of them" in output


def test_it_refuses_what_the_model_itself_said_under_another_template_as_a_run_does(
    rows: Path, tmp_path: Path, by: Renderer, capsys: pytest.CaptureFixture[str]
) -> None:
    own = trajectory(conversation(by, "How many?", ANSWER))
    strange = [step.model_copy(update={"tokenizer_digest": "0" * 16}) for step in own.steps]
    records = [own, own.model_copy(update={"steps": tuple(strange)})]
    rows.write_text("".join(json.dumps(to_record(one)) + "\n" for one in records))
    run = prepare(FinetuneSettings(data_dir=tmp_path, base="tiny", data=(str(rows),))).run

    check(str(rows), "--show", "0", data_dir=tmp_path)

    summary = run.read("selection.json")["agent"]["summary"]
    assert summary == "2 rows; left out: template_mismatch 1; kept 1"
    assert capsys.readouterr().out.splitlines()[0] == f"{rows}: {summary}"


def test_what_filters_leave_out_is_named_by_file_and_line_too(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlearnt = {"role": "assistant", "content": "No.", "weight": 0}
    rows.write_text(
        "\n".join(
            [
                chat("Nobody."),
                chat("Nobody.", split="test"),
                json.dumps({"messages": [{"role": "user", "content": "Who?"}, unlearnt]}),
            ]
        )
    )

    assert check(str(rows), "--show", "0", data_dir=tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "  evaluation_task: rows.jsonl:2: its task is of the test split",
        "  nothing_to_train: rows.jsonl:3: no turn in it is to be learnt",
    ]


def test_a_file_of_which_nothing_is_left_is_not_taken(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write_text(chat("Nobody.", split="test"))

    assert check(str(rows), data_dir=tmp_path) == 1
    assert "  a run would not take this file: no row is left\n" in capsys.readouterr().out


def test_each_file_is_judged_by_itself(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(chat("Nobody.\x1b[2J"))

    assert check(str(good), "--show", "1", data_dir=tmp_path) == 0
    assert "⟦Nobody.\\u001b[2J<|im_end|>⟧" in capsys.readouterr().out
    assert check(str(good), str(rows), "--show", "0", data_dir=tmp_path) == 1
    assert "im_end" not in capsys.readouterr().out


def test_no_rows_are_no_success(
    tmp_path: Path, chatml_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered(tmp_path, chatml_llama)
    (tmp_path / "empty.jsonl").write_text("\n")

    assert check(str(tmp_path / "empty.jsonl"), data_dir=tmp_path) == 2
    assert check(str(tmp_path / "none.jsonl"), data_dir=tmp_path) == 2
    assert check(str(tmp_path), "--columns", "mesages=conv", data_dir=tmp_path) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "agentlm: empty.jsonl has no rows"
    assert errors[1] == f"agentlm: there is no file {tmp_path / 'none.jsonl'}"
    assert "no format has a key 'mesages'" in errors[2]


def test_a_run_says_before_it_trains_what_it_leaves_out(rows: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data_dir": tmp_path, "base": "tiny", "data": (str(rows),)}
    lines: list[str] = []

    describe(prepare(FinetuneSettings(**settings, max_malformed=0.8)), lines.append)

    assert lines[1].startswith("agent: 1 rows, ")
    assert lines[1].endswith("; each row 3.0 times")
    assert lines[2] == "agent: 5 rows; left out: malformed 4; kept 1"
    assert [line.split(": ")[:2] for line in lines[3:]] == [
        ["  malformed", "rows.jsonl:2"],
        ["  malformed", "rows.jsonl:5"],
        ["  malformed", "rows.jsonl:6"],
    ]
