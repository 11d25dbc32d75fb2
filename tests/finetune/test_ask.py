"""A judge's mark is a filter, rehearsal asks the base, negatives answer without the tools shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from agentlm.errors import OperatorError
from agentlm.exchange import from_sharegpt, read_row
from agentlm.exchange.files import Malformed
from agentlm.finetune.data.negatives import NO_TOOL, with_negatives
from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.data.rows import RowMaker, loss_steps
from agentlm.finetune.filters.judge import Asker, Judge, rehearsed
from agentlm.finetune.settings import FinetuneSettings
from agentlm.messages import ToolSpec
from agentlm.openai_messages import own_seed
from agentlm.prompt.grammar import parse
from agentlm.trajectory import Trajectory
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    registered,
    renderer,
    trajectory,
    write_log,
)

BASH = ToolSpec(name="bash", description="Run it.", parameters={"type": "object"}, owner="server")
CHAT = from_sharegpt(
    {
        "conversations": [
            {"from": "human", "value": "Who wrote Faust?"},
            {"from": "gpt", "value": "Goethe."},
        ]
    }
)


@pytest.fixture
def says(httpserver: HTTPServer) -> Callable[..., Asker]:
    def serve(text: str, finish_reason: str = "stop") -> Asker:
        answer: dict[str, Any] = {"index": 0, "finish_reason": finish_reason}
        answer["message"] = {"role": "assistant", "content": text}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        httpserver.expect_request("/v1/chat/completions", method="POST").respond_with_json(
            body | {"choices": [answer]}
        )
        return Asker(httpserver.url_for("/"), "m", None)

    return serve


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("8", None), ("3", "the judge gave 0.3"), ("Hm.", "the judge said 'Hm.'")],
)
def test_a_judge_leaves_out_what_it_marks_low(
    says: Callable[[str], Asker],
    httpserver: HTTPServer,
    chatml_llama: Path,
    reply: str,
    reason: str | None,
) -> None:
    judge = Judge(says(reply), least=0.5)

    assert judge(trajectory(conversation(renderer(chatml_llama), "How many?", ANSWER))) == reason
    [(request, _)] = httpserver.log
    asked = request.get_json()
    assert "How many?" in asked["messages"][0]["content"]
    assert asked["store"] is False


def test_a_judge_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OperatorError, match="m at http://localhost:9/v1/"):
        Asker("http://localhost:9", "m", None).ask([{"role": "user", "content": "?"}], 8)


def test_rehearsal_puts_the_models_own_answer_in_place(
    says: Callable[[str], Asker], httpserver: HTTPServer
) -> None:
    bad = Malformed("x:1", "not JSON")

    rows = list(rehearsed([CHAT, bad], says("Johann Wolfgang von Goethe."), seed=5))

    assert rows[1] == bad
    assert isinstance(rows[0], Trajectory)
    texts = [step.text for step in rows[0].steps]
    assert texts == ["Who wrote Faust?", "Johann Wolfgang von Goethe."]
    assert loss_steps(rows[0], 1.0, unjudged=True) == [False, True]
    [(request, _)] = httpserver.log
    asked = request.get_json()
    assert (asked["temperature"], asked["store"]) == (1, False)
    assert asked["seed"] == own_seed(5, "Who wrote Faust?") != own_seed(5, "Who wrote Hamlet?")


@pytest.mark.parametrize(("text", "finish_reason"), [("Goethe wrote", "length"), ("", "stop")])
def test_an_answer_that_is_cut_off_or_empty_makes_no_row(
    says: Callable[..., Asker], text: str, finish_reason: str
) -> None:
    assert list(rehearsed([CHAT], says(text, finish_reason), seed=0)) == []


def test_a_negative_is_shown_tools_and_answers_without_them(chatml_llama: Path) -> None:
    by = renderer(chatml_llama)

    [row] = with_negatives([CHAT], [(BASH,)], share=1.0, seed=0)

    assert isinstance(row, Trajectory)
    made = RowMaker(by, 4096).row(row, loss_steps(row, 1.0, unjudged=True))
    text = by.decode(list(made.ids))  # type: ignore[union-attr]
    assert "- bash: Run it." in text
    parsed = parse(row.steps[-1].text)
    assert (parsed.thought, parsed.answer, parsed.name) == (NO_TOOL, "Goethe.", None)


def test_rows_with_tools_are_never_made_negatives(chatml_llama: Path) -> None:
    used = trajectory(conversation(renderer(chatml_llama), "?", CALL, ANSWER), tools=(BASH,))

    assert list(with_negatives([used], [(BASH,)], share=1.0, seed=0)) == [used]
    assert list(with_negatives([CHAT], [(BASH,)], share=0.0, seed=0)) == [CHAT]
    text = read_row({"text": "Bees carry pollen."})
    assert list(with_negatives([text], [(BASH,)], share=1.0, seed=0)) == [text]


def test_the_judge_is_shown_its_own_key_only(
    says: Callable[[str], Asker], httpserver: HTTPServer, chatml_llama: Path, tmp_path: Path
) -> None:
    says("8")
    registered(tmp_path, chatml_llama)
    write_log(tmp_path, [trajectory(conversation(renderer(chatml_llama), "How many?", ANSWER))])
    settings = FinetuneSettings(
        data_dir=tmp_path,
        from_logs=True,
        api_key="the publisher's",
        judge_url=httpserver.url_for("/"),
        judge_model="m",
        judge_api_key="the judge's",
    )

    prepared = prepare(settings)

    [(request, _)] = httpserver.log
    assert request.headers["Authorization"] == "Bearer the judge's"
    assert not {"api_key", "judge_api_key"} & prepared.run.read("recipe.json").keys()
