"""General rows in the base model's own words: made once, whole or not there, with what they are."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from agentlm.commands.data import main
from agentlm.errors import OperatorError
from agentlm.exchange.files import Malformed, read_rows
from agentlm.exchange.text import is_plain
from agentlm.finetune.data.negatives import NO_TOOL
from agentlm.finetune.data.prompts import openings, questions, unfit_tools
from agentlm.trajectory import Trajectory

COUNT = 12


class Answering:
    """A server whose model answers; it goes down after so many answers."""

    def __init__(self, server: HTTPServer) -> None:
        self.asked: list[dict[str, Any]] = []
        self.lasts = 1000
        self.weights = "w0"
        self.cuts = ""
        server.expect_request("/v1/models").respond_with_handler(self.models)
        server.expect_request("/v1/chat/completions").respond_with_handler(self.answer)
        server.expect_request("/v1/completions").respond_with_handler(self.go_on)

    def models(self, _: Request) -> Response:
        listed = {"id": "tiny", "object": "model", "weights_version": self.weights}
        body = {"object": "list", "data": [listed]}
        return Response(json.dumps(body), mimetype="application/json")

    def answer(self, request: Request) -> Response:
        body = request.get_json()
        if len(self.asked) >= self.lasts:
            return Response(json.dumps({"error": {"message": "down"}}), 400)
        self.asked.append(body)
        question = body["messages"][0]["content"]
        cut = bool(self.cuts) and self.cuts in question
        message = {"role": "assistant", "content": f"An answer to: {question}"}
        choice = {"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}
        completion = {"id": "c", "object": "chat.completion", "created": 1, "model": "tiny"}
        return Response(
            json.dumps({**completion, "choices": [choice]}), mimetype="application/json"
        )

    def go_on(self, request: Request) -> Response:
        self.asked.append(request.get_json())
        choice = {"index": 0, "text": " and so on", "finish_reason": "length"}
        completion = {"id": "c", "object": "text_completion", "created": 1, "model": "tiny"}
        return Response(
            json.dumps({**completion, "choices": [choice]}), mimetype="application/json"
        )


@pytest.fixture
def server(httpserver: HTTPServer) -> Answering:
    return Answering(httpserver)


@pytest.fixture
def command(httpserver: HTTPServer, tmp_path: Path) -> list[str]:
    place = ["--url", httpserver.url_for(""), "--data-dir", str(tmp_path)]
    size = ["--limit", str(COUNT), "--concurrency", "4", "--model", "tiny"]
    return ["rehearse", *place, *size, "--output", str(tmp_path / "general.jsonl")]


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "general.jsonl").read_text().splitlines()]


def test_rows_are_questions_with_the_models_own_answers_and_can_be_read(
    server: Answering, command: list[str], tmp_path: Path
) -> None:
    assert main([*command, "--no-tool-share", "0.5"]) == 0

    made = rows(tmp_path)
    assert [row["messages"][0]["content"] for row in made] == list(islice(questions(), COUNT))
    assert all("An answer to" in row["messages"][1]["content"] for row in made)
    assert {(body["temperature"], body["store"]) for body in server.asked} == {(1, False)}
    with_tools = [row for row in made if "tools" in row]
    assert 0 < len(with_tools) < COUNT
    assert {row["messages"][1]["reasoning_content"] for row in with_tools} == {NO_TOOL}
    for row in read_rows(str(tmp_path / "general.jsonl")):
        assert not isinstance(row, Malformed), row
        thought = NO_TOOL if row.tools else None
        assert (row.steps[-1].thought, row.steps[-1].call) == (thought, None)


def test_killed_it_goes_on_and_asks_nothing_twice(
    server: Answering, command: list[str], tmp_path: Path
) -> None:
    server.lasts = 8
    with pytest.raises(OperatorError, match=r"tiny at .* down"):
        main(command)
    assert not (tmp_path / "general.jsonl").exists()
    with (tmp_path / ".general.jsonl.answers").open("a") as kept:
        kept.write('["half a li')
    server.lasts = 1000

    assert main(command) == 0

    assert len(rows(tmp_path)) == COUNT
    asked = Counter(body["messages"][0]["content"] for body in server.asked)
    assert set(asked.values()) == {1}
    assert not (tmp_path / ".general.jsonl.answers").exists()


@pytest.mark.parametrize("change", ["weights", "--max-tokens"])
def test_answers_of_another_model_are_not_taken_for_its_own(
    server: Answering, command: list[str], tmp_path: Path, change: str
) -> None:
    server.lasts = 8
    with pytest.raises(OperatorError):
        main(command)
    server.lasts, server.asked = 1000, []
    server.weights = "w1" if change == "weights" else "w0"

    assert main([*command, *(["--max-tokens", "9"] if change == "--max-tokens" else [])]) == 0

    assert len(server.asked) == COUNT


def test_an_answer_that_was_cut_off_is_no_row(
    server: Answering, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.cuts = next(questions())

    main(command)

    assert len(rows(tmp_path)) == COUNT
    assert f"{COUNT} rows, 1 answers were cut off or empty and left out" in capsys.readouterr().out


def test_a_cut_answer_is_kept_for_a_training_that_does_not_imitate_its_end(
    server: Answering, command: list[str], tmp_path: Path
) -> None:
    server.cuts = first = next(questions())

    main([*command, "--keep-cut"])

    assert rows(tmp_path)[0]["messages"][0]["content"] == first


def test_text_goes_on_from_a_few_words_and_is_no_conversation(
    server: Answering, command: list[str], tmp_path: Path
) -> None:
    main([*command, "--text"])

    asked = [body["prompt"] for body in server.asked]
    first = list(islice(openings(), COUNT))
    assert sorted(asked) == sorted(first)
    assert [row["text"] for row in rows(tmp_path)] == [f"{opening} and so on" for opening in first]
    assert all(
        isinstance(row, Trajectory) and is_plain(row)
        for row in read_rows(str(tmp_path / "general.jsonl"))
    )


def test_a_file_without_questions_is_told_as_that(
    server: Answering, command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "Bees carry pollen."}\n')
    with pytest.raises(OperatorError, match=r"text\.jsonl has no question"):
        main([*command, "--prompts", str(tmp_path / "text.jsonl")])


@pytest.mark.parametrize("flags", [["--keep-cut"], ["--no-tool-share", "0.5"]])
def test_what_text_has_no_use_for_is_refused(command: list[str], flags: list[str]) -> None:
    with pytest.raises(OperatorError, match="is for answers, and --text makes none"):
        main([*command, "--text", *flags])


def test_each_answer_is_drawn_with_noise_of_its_own(
    server: Answering, command: list[str], tmp_path: Path
) -> None:
    main(command)

    assert len({body["seed"] for body in server.asked}) == COUNT


def test_questions_of_a_file_are_asked_each_once(
    server: Answering, command: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "asked.jsonl"
    asked = ["Why?", "How?", "Why?"]
    file.write_text("".join(json.dumps({"instruction": it, "output": "-"}) + "\n" for it in asked))

    main([*command, "--prompts", str(file)])

    assert [row["messages"][0]["content"] for row in rows(tmp_path)] == ["Why?", "How?"]


def test_there_are_a_thousand_questions_and_no_two_are_the_same() -> None:
    all_of_them = list(questions(3))

    assert len(all_of_them) == len(set(all_of_them)) > 1000
    assert list(islice(questions(3), 50)) == all_of_them[:50] != list(islice(questions(4), 50))
    assert "{" not in "".join(all_of_them)


def test_tools_that_do_not_fit_are_as_a_client_declares_them() -> None:
    tools = [tool for seed in range(50) for tool in unfit_tools(Random(seed))]

    assert len({tool.name for tool in tools}) > 20
    assert all(tool.parameters["required"] == [*tool.parameters["properties"]] for tool in tools)
