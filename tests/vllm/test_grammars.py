"""No schema keeps the engine's compiler from another key: each is tried out where it can be ended.

The compiler is the real one; the schemas that explode are within what a request may have.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentlm.errors import UnavailableError
from agentlm.server.openai.schemas import check_size
from agentlm.server.vllm.grammars import STUCK_S, GrammarRefused, Grammars
from support.tiny import tiny_renderer

pytestmark = pytest.mark.asyncio(loop_scope="module")


def tag(schema: Any) -> str:
    content = {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 8}
    return json.dumps({"type": "structural_tag", "format": content})


def where(**keywords: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": keywords}, "required": ["a"]}


EXPLODING = {
    "strings of many lengths": where(
        anyOf=[{"type": "string", "maxLength": 7 * n + 1} for n in range(240)]
    ),
    "a pattern within patterns": where(type="string", pattern="^((((a|b){90}){90}){90}){90}$"),
    "a list within lists": where(
        type="array",
        items={"type": "array", "items": {"type": "string", "maxLength": 9_999}, "maxItems": 9_999},
        maxItems=9_999,
    ),
    "properties in any number": {
        "type": "object",
        "properties": {f"p{n}": {"type": "string", "minLength": n} for n in range(800)},
        "minProperties": 400,
    },
}
SMALL = where(enum=["yes", "no"])


@pytest.fixture(scope="module")
def vocabulary() -> str:
    xgrammar = pytest.importorskip("xgrammar")
    renderer = tiny_renderer("chatml")
    words = [renderer.token_bytes(token) or b"<>" for token in range(renderer.vocabulary_size)]
    stops = [renderer.end_of_turn_id]
    return str(xgrammar.TokenizerInfo(words, stop_token_ids=stops).serialize_json())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grammars(vocabulary: str) -> AsyncIterator[Grammars]:
    grammars = Grammars(vocabulary, cpu_s=1)
    yield grammars
    await grammars.close()


def forks(grammars: Grammars) -> list[str]:
    assert grammars.worker.process is not None
    worker = grammars.worker.process.pid
    return Path(f"/proc/{worker}/task/{worker}/children").read_text().split()


async def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


async def test_a_grammar_that_compiles_is_let_through_and_remembered(grammars: Grammars) -> None:
    (await grammars.admit(tag(SMALL), "ann")).end()
    began = time.monotonic()
    (await grammars.admit(tag(SMALL), "bob")).end()

    assert time.monotonic() - began < 0.1


async def test_what_is_no_schema_is_refused_in_the_compilers_words(grammars: Grammars) -> None:
    with pytest.raises(GrammarRefused, match="objekt"):
        await grammars.admit(tag({"type": "objekt"}), "ann")


@pytest.mark.parametrize("schema", EXPLODING.values(), ids=EXPLODING)
async def test_a_schema_that_explodes_holds_up_no_other_key(
    grammars: Grammars, schema: Any
) -> None:
    check_size({"response_format": schema})
    hostile = asyncio.create_task(grammars.admit(tag(schema), "eve"))
    await asyncio.sleep(0.1)
    (await asyncio.wait_for(grammars.admit(tag(where(const=time.time())), "ann"), 5)).end()
    hostile.cancel()
    [outcome] = await asyncio.gather(hostile, return_exceptions=True)
    if not isinstance(outcome, BaseException):
        outcome.end()

    await until(lambda: not forks(grammars))


def grown(choose: random.Random, depth: int = 5) -> dict[str, Any]:
    """A schema at random, of the keywords that cost most, with numbers that are too large."""
    many = choose.choice([0, 1, 30, 999, 10**6, 10**12])
    leaves: list[dict[str, Any]] = [
        {"type": "string", "maxLength": many},
        {"type": "string", "minLength": many},
        {
            "type": "string",
            "pattern": f"^({choose.choice(['a|b', '.*a', '(a*)*', '[^x]?'])}){{1,99}}$",
        },
        {"type": "string", "pattern": "(" * many + "a" + ")*" * many if many < 40 else "\\p{L}+"},
        {"enum": ["v" * choose.randrange(300) + str(n) for n in range(choose.randrange(1, 60))]},
        {"type": "integer", "minimum": -many, "maximum": many * 7 + 3},
        {"$ref": "#"},
    ]
    if not depth or choose.random() < 0.2:
        return choose.choice(leaves)
    parts = [grown(choose, depth - 1) for _ in range(choose.randrange(1, 4))]
    return choose.choice(
        [
            {"type": "object", "properties": {f"p{n}": part for n, part in enumerate(parts)}},
            {"type": "object", "additionalProperties": parts[0], "minProperties": many},
            {"type": "array", "items": parts[0], "minItems": many},
            {"type": "array", "prefixItems": parts, "items": parts[-1], "maxItems": many},
            {"anyOf": parts * 9},
            {"patternProperties": {"^(a|b){1,99}$": parts[0]}},
        ]
    )


async def test_whatever_a_schema_says_it_is_let_through_or_refused_in_time(
    grammars: Grammars,
) -> None:
    schemas = [grown(random.Random(seed)) for seed in range(40)]
    tries = [grammars.admit(tag(each), str(n % 4)) for n, each in enumerate(schemas)]

    async def end(attempt: Any) -> bool:
        try:
            (await attempt).end()
        except GrammarRefused:
            return False
        return True

    passed = await asyncio.wait_for(asyncio.gather(*map(end, tries)), 120)

    assert set(passed) == {True, False}
    assert not forks(grammars)
    (await asyncio.wait_for(grammars.admit(tag(where(const="alive")), "ann"), 5)).end()


async def test_a_schema_without_end_is_given_up(grammars: Grammars) -> None:
    with pytest.raises(GrammarRefused, match="more than 1 seconds or 2 GiB"):
        await grammars.admit(tag(EXPLODING["strings of many lengths"]), "eve")
    with pytest.raises(GrammarRefused):  # at once
        await asyncio.wait_for(
            grammars.admit(tag(EXPLODING["strings of many lengths"]), "eve"), 0.1
        )


async def test_a_key_has_one_new_grammar_in_the_engine_at_a_time(grammars: Grammars) -> None:
    first = await grammars.admit(tag(where(const="one")), "eve")
    second = asyncio.create_task(grammars.admit(tag(where(const="two")), "eve"))
    (await asyncio.wait_for(grammars.admit(tag(where(const="three")), "ann"), 5)).end()
    await asyncio.sleep(0.05)
    waited = not second.done()
    first.end()
    (await asyncio.wait_for(second, 5)).end()

    assert waited


async def test_a_client_that_goes_does_not_set_the_key_free_before_the_engine(
    grammars: Grammars,
) -> None:
    passage = await grammars.admit(tag(where(const="left")), "eve")
    passage.seconds = 0.2
    began = time.monotonic()
    passage.leave()
    (await grammars.admit(tag(where(const="next")), "eve")).end()

    assert time.monotonic() - began > 0.2


async def test_a_compiler_that_is_stuck_shows(grammars: Grammars) -> None:
    passage = await grammars.admit(tag(SMALL), "ann")
    slow = grammars.stuck()
    passage.began -= STUCK_S + 1
    alone = grammars.stuck()
    grammars.served(time.monotonic())
    overtaken = grammars.stuck()
    passage.end()

    assert (slow, alone, overtaken, grammars.stuck()) == (False, False, True, False)


async def test_a_worker_that_dies_is_started_again(grammars: Grammars) -> None:
    assert grammars.worker.process is not None
    grammars.worker.process.kill()
    await grammars.worker.process.wait()
    (await grammars.admit(tag(where(const="after")), "ann")).end()


async def test_a_busy_machine_refuses_no_schema_for_good(vocabulary: str) -> None:
    busy = Grammars(vocabulary, wall_s=0)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="try again"):
            await busy.admit(tag(EXPLODING["a list within lists"]), "ann")
    await busy.close()
