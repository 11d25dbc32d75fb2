"""Crafted answers pin both ways of scoring: ours, and AgentBench's own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from agentlm.environments.db import agentbench_scoring
from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.db.scoring import answers_match, parse_answer
from agentlm.environments.kg.environment import _first_named, _last_named
from agentlm.environments.os.compare import Comparison, agrees, equals
from agentlm.environments.task import Action, Scoring, Task
from agentlm.tools.graph.graph import Graph, GraphError
from agentlm.tools.graph.program import Evaluator
from agentlm.tools.graph.protocol import ProgramStep


@pytest.mark.parametrize(
    ("answer", "label", "ours", "agentbench"),
    [
        ('["5"]', ["5"], True, True),
        ('["5.0"]', ["5"], True, True),
        ("5", ["5.00"], True, True),
        ('["12.5"]', ["12.50"], True, True),
        ('["5.009"]', ["5"], False, True),
        ('["5.02"]', ["5"], False, False),
        ('["1,200"]', ["1200"], False, True),
        ('["1200"]', ["1,200"], False, True),
        ('["50%"]', ["50"], False, True),
        ('["50"]', ["50 %"], False, True),
        ('["null"]', ["0"], False, True),
        ('["None"]', ["nan"], False, True),
        ("", ["0"], False, True),
        ("", [""], False, True),
        ('["inf"]', ["-Infinity"], False, True),
        ("[]", [], True, True),
        ("[]", ["0"], False, False),
        ('["a"]', ["A"], False, False),
        ('["Zurich"]', ["Zürich"], False, False),
        ('["Heroes"]', ['"Heroes"'], True, True),
        ("['\"Heroes\"']", ["Heroes"], True, True),
        ('["it\'s"]', ["it's"], True, True),
        ('["b", "a"]', ["a", "b"], True, True),
        ('["a", "a"]', ["a"], False, True),
        ('["a"]', ["a", "a"], True, True),
        ('["1", "1"]', ["1", "2"], False, False),
        ('["1", "2", "2"]', ["1", "2"], True, False),
        ('["1.004", "2"]', ["2", "1"], False, True),
        ('["1", "x"]', ["x", "1.0"], True, False),
        ("[('7',)]", ["7"], True, True),
        ("[('a',), ('b',)]", ["a", "b"], True, True),
        ("[('a', 'b')]", ["a", "b"], True, False),
        ("[a, b]", ["a", "b"], False, True),
        ("The answer is ['7'].", ["7"], True, False),
        ("7", ["7"], True, True),
        ('["7"] ', ["7"], True, True),
        ("none", ["None"], False, True),
    ],
)
def test_answers_are_judged_by_our_rules_or_by_agentbenchs(
    answer: str, label: list[str], ours: bool, agentbench: bool
) -> None:
    assert answers_match(parse_answer(answer), label) is ours
    assert agentbench_scoring.answers_match(answer, label) is agentbench


@pytest.mark.parametrize(
    ("answer", "ours", "agentbench"),
    [
        ("#2", "#2", "#2"),
        ("#0 and #1", "#1", "#0"),
        ("It is #3.", "#3", None),
        ("nothing", None, None),
        ("#1, not #2", "#2", "#1"),
    ],
)
def test_a_variable_is_the_last_one_named_or_the_one_that_begins_the_answer(
    answer: str, ours: str | None, agentbench: str | None
) -> None:
    assert _last_named(answer) == ours
    assert _first_named(answer) == agentbench


def change(folder: Path, statement: str, rows: int, digest: str | None) -> Task:
    table = {
        "table_name": "t",
        "table_info": {
            "columns": [{"name": "a"}, {"name": "b"}],
            "rows": [[str(number), "x"] for number in range(rows)],
        },
    }
    row = {"description": "Do it.", "label": [statement], "type": ["UPDATE"], "table": table}
    file = folder / "tasks.jsonl"
    file.write_text(json.dumps(row | {"answer_md5": digest}))
    [task] = DbEnvironment().load(file, "test")
    return task


async def scored(task: Task, statement: str, scoring: Scoring) -> float:
    async with DbEnvironment(scoring).open(task) as world:
        await world.act(Action(name="sql", arguments={"query": statement}))
        return await world.score('["done"]')


SCORINGS: tuple[Scoring, ...] = ("agentlm", "agentbench")


@pytest.mark.parametrize("scoring", SCORINGS)
async def test_a_change_without_a_digest_is_held_to_the_files_own_statement(
    tmp_path: Path, scoring: Scoring
) -> None:
    solution = "UPDATE t SET b = 12.50 WHERE a = 3"
    task = change(tmp_path, solution, 5, "")
    assert await scored(task, "UPDATE t SET b = '12.50' WHERE a = '3'", scoring) == 1.0
    assert await scored(task, "UPDATE t SET b = '12.5' WHERE a = '3'", scoring) == 0.0
    assert await scored(task, "SELECT 1", scoring) == 0.0
    assert await scored(task, "DROP TABLE t", scoring) == 0.0


async def test_a_change_beyond_what_agentbenchs_digest_sees_has_to_be_made(
    tmp_path: Path,
) -> None:
    """170 rows fill what MySQL's GROUP_CONCAT gives; the row that sorts last is not among them."""

    def digest(*row: str) -> str:
        return hashlib.md5(",".join(row).encode()).hexdigest()[:5]

    last = max(map(str, range(400)), key=lambda number: digest(number, "x"))
    new = next(str(value) for value in range(99) if digest(last, str(value)) > "e")
    task = change(tmp_path, f"UPDATE t SET b = '{new}' WHERE a = '{last}'", 400, "")
    assert await scored(task, "SELECT 1", "agentbench") == 1.0
    assert await scored(task, "SELECT 1", "agentlm") == 0.0
    assert await scored(task, task.parameters["solution"], "agentlm") == 1.0


async def test_an_empty_answer_is_never_right_by_our_rules(tmp_path: Path) -> None:
    task = change(tmp_path, "SELECT 1", 1, "")
    asked = task.model_copy(update={"parameters": {**task.parameters, "label": []}})
    async with DbEnvironment().open(asked) as world:
        assert (await world.score(""), await world.score("[]")) == (0.0, 1.0)


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 600 + "]" * 600,
        "[" * 100_000,
        "[" + "(" * 150 + ")" * 150 + "]",
        f"[0x{'f' * 5000}]",
        f"[{'9' * 5000}]",
        "9" * 5000,
        "[{[]: 1}]",
        "[{[]}]",
        "[1e400]",
        "[nan]",
        "[b'a', 1+2j, None]",
        "[\x00]",
        "[\ud800]",
        "1.2.3",
        ".",
        "²",
        "1 2 3 4 5 6 7 8 9",
        '["1", "2", "3", "4", "5"]',
        "#²",
        f"#{'9' * 5000}",
    ],
)
def test_no_answer_is_a_failure_of_ours_nor_right_by_its_form(answer: str) -> None:
    for label in (["5"], ["5", "6"]):
        assert not answers_match(parse_answer(answer), label)
        assert not agentbench_scoring.answers_match(answer, label)
    how: Comparison
    for how in ("integer", "string", "size"):
        assert not agrees(answer, "5", how)
        assert not equals(answer, "5", how)
    program = (ProgramStep(operation="count", operands=("geo:AF",)),)
    with pytest.raises(GraphError):
        Evaluator(Graph.__new__(Graph)).operand(program, f"#{answer}")
