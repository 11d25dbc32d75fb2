"""An invented name is an identifier in a call that stands nowhere in what the player was told."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from agentlm.agent.tool import Observation
from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.error_classes import ERROR_CLASSES, classify
from agentlm.environments.invented_names import invented_names
from agentlm.environments.playing.play import Play, play
from agentlm.environments.playing.players import GoldPlayer, Reply
from agentlm.environments.playing.progress import Kept, Result
from agentlm.environments.task import Split, Task
from agentlm.messages import Message, ToolCall

TABLE = "The table `tram_lines` has the columns Toy Name, reason and built_1998; a value: Red"
FILES = "Count the errors in logs/harbour.log and notes.txt; the directory is quiet_meadow."
GRAPH = "Which country has the capital Berlin? Entities: Berlin = geo:2950159; geo:capital"


def call(tool: str, argument: str, text: str) -> ToolCall:
    return ToolCall(id="call_1", name=tool, arguments=json.dumps({argument: text}))


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("SELECT reason FROM tram_lines", ()),
        ("SELECT `Reason` FROM `TRAM_LINES` WHERE `toy name` = 'Anything at all'", ()),
        ("SELECT COUNT(*) AS total FROM tram_lines ORDER BY total", ()),
        ("WITH few AS (SELECT reason FROM tram_lines) SELECT few.reason FROM few", ()),
        ("SELECT t.reason FROM tram_lines t", ()),
        ("SELECT table_name FROM information_schema.tables", ()),
        ("CREATE TABLE scratch (a INT)", ()),
        ("SHOW TABLES", ()),
        ("SELECT 1", ()),
        ("SELECT reason FROM Hospital", ("Hospital",)),
        ("SELECT reason FROM tram", ("tram",)),
        ("SELECT reasons, built FROM tram_lines", ("reasons", "built")),
        ("SELECT h.reason FROM tram_lines", ("h",)),
        ("SELECT reason FROM tram_lines WHERE shade = 'x'", ("shade",)),
        ("INSERT INTO tram_lines (reason, price) VALUES ('a', 1)", ("price",)),
        ("UPDATE trams SET reason = 'x' WHERE id = 3", ("trams", "id")),
        ("DELETE FROM `ighthouse`", ("ighthouse",)),
        ("SELECT FROM WHERE `ighthouse`", ("ighthouse",)),
        ("DESCRIBE `ighthouse`", ("ighthouse",)),
        ("(" * 5000 + "1" + ")" * 5000, ()),
        ("SELEC", ()),
        ("SELEC hospital", ()),
        ("SELECT reason FROM tram_lines UNION SELECT `Ward` FROM tram_lines", ("Ward",)),
        ("", ()),
    ],
)
def test_tables_and_columns_of_sql_are_names(statement: str, names: tuple[str, ...]) -> None:
    assert set(invented_names(call("sql", "query", statement), TABLE, failed=False)) == set(names)


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("grep -c error logs/harbour.log", ()),
        ("cat ./logs/harbour.log notes.txt 2>/dev/null | wc -l", ()),
        ("ls -la /etc/passwd /var/log /usr/bin/env ~", ()),
        ("ls *.log && find . -type f", ()),
        ("awk -F, '{print $2/3.5}' notes.txt", ()),
        ("sed s/a/b/ notes.txt > result.txt; cat result.txt", ()),
        ("mkdir new.d; touch new.d/x.txt; cp notes.txt copy.txt\ncat copy.txt", ()),
        ("grep -r app.conf logs", ()),
        ("echo 'unbalanced", ()),
        ("cat hospital.txt", ("hospital.txt",)),
        ("cat logs/hospital.log", ("hospital.log",)),
        ("cat /var/log/tram/harbour.log", ("tram",)),
        ("wc -l < ward.csv", ("ward.csv",)),
        ("notes.txt; ./run_me.sh", ("run_me.sh",)),
        ("cd quiet_meadow && cat a.txt > b.txt && cat b.txt", ("a.txt",)),
        ("mv old.txt notes.txt", ("old.txt",)),
    ],
)
def test_paths_that_a_command_reads_are_names(command: str, names: tuple[str, ...]) -> None:
    assert invented_names(call("bash", "command", command), FILES, failed=False) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("geo:2950159", ()),
        ("berlin", ()),
        ("#0", ()),
        ("12", ()),
        ("^geo:capital", ()),
        ("geo:295015", ("geo:295015",)),
        ("geo:mayor", ("geo:mayor",)),
    ],
)
def test_entities_and_relations_of_a_graph_are_names(text: str, names: tuple[str, ...]) -> None:
    assert invented_names(call("get_neighbors", "variable", text), GRAPH, failed=False) == names


def test_a_relation_that_the_graph_took_may_have_been_learnt() -> None:
    asked = call("get_neighbors", "relation", "geo:mayor")
    assert invented_names(asked, GRAPH, failed=False) == ()
    assert invented_names(asked, GRAPH, failed=True) == ("geo:mayor",)


def test_arguments_that_can_not_be_read_name_nothing() -> None:
    broken = ToolCall(id="call_1", name="sql", arguments="{")
    assert invented_names(broken, "", failed=True) == ()


def run_of(*turns: tuple[str, str]) -> Play:
    """What the player was told, and calls with what they showed."""
    task = next(DbEnvironment().generate("test"))
    run = Play(task, 0, (Message(role="user", content=TABLE),), TABLE)
    for statement, observed in turns:
        reply = Reply(thought=statement, call=call("sql", "query", statement))
        run.note(reply, Observation(observed), None)
    return run


def test_what_was_observed_is_known_and_what_the_player_thought_is_not() -> None:
    run = run_of(("SHOW TABLES", "[('Hospital',)]"), ("SELECT reason FROM Hospital", "[]"))
    assert run.error_classes == ()
    run = run_of(("SELECT `Ward` FROM `Hospital`", "[]"), ("SELECT `Ward` FROM tram_lines", "[]"))
    assert [exchange.invented for exchange in run.exchanges] == [("Hospital", "Ward"), ("Ward",)]
    assert run.error_classes == ("invented_name",)
    result = Result.of(run, Kept())
    assert (result.calls, result.invented) == (2, 2)


def test_the_class_is_one_of_those_that_are_reported() -> None:
    assert "invented_name" in ERROR_CLASSES
    assert classify(run_of(("SELECT x FROM y", "[]")).exchanges) == ("invented_name",)


@pytest.mark.parametrize("split", ["dev", "test"])
async def test_experts_invent_nothing(split: Split) -> None:
    environment = DbEnvironment()
    tasks: list[Task] = list(islice(environment.generate(split), 40))
    for task in tasks:
        run = await play(environment, task, GoldPlayer())
        if "call_error" not in run.error_classes:  # some show how an error is recovered from
            assert run.error_classes == (), task.instruction
