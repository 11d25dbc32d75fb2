"""`agentlm logs` as a user types it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text

from agentlm.cli import main
from agentlm.exchange import to_agentinstruct
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.store import EVERYTHING, AuditRecord, Entry, Store
from agentlm.trajectory import Feedback, Origin, Outcome, Step, Trajectory
from support.processes import interruptible
from support.records import CALL, TOOL, chat, fork, interaction, prompt, sampled, trajectory

Logs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    yield opened
    opened.close()


@pytest.fixture
def logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Logs:
    def run(*argv: str, data: Path = tmp_path) -> tuple[int, str, str]:
        code = main(["logs", *argv, "--data-dir", str(data)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def put(store: Store, *entries: Entry) -> None:
    async def append() -> None:
        for entry in entries:
            await store.append(entry)

    asyncio.run(append())


def agent_run() -> Entry:
    header = trajectory(source="agent", tools=(TOOL,), environment="db", task_id="db-7")
    steps = (
        prompt([1, 2, 3], text="How many files?"),
        sampled([4, 5], text="…", thought="I list them", call=CALL, seconds=1.5),
        Step(
            role="tool",
            origin=Origin.PROMPT,
            text="Observation: [b]a[/b]",
            token_ids=(6,),
            tool_call_id=CALL.id,
        ),
        sampled([7], text="…", thought="I count", answer="One file."),
    )
    return Entry(header, 0, steps, interaction(header, 0, 4))


def test_the_list_is_a_table_or_lines_of_json(logs: Logs, store: Store) -> None:
    entries = [chat(created=100.0), chat(created=200.0, model="big", reward=0.5)]
    put(store, *entries)

    _, table, _ = logs("list")
    _, lines, _ = logs("list", "--json")
    _, filtered, _ = logs("list", "--json", "--model", "big", "--outcomes", "completed,limit")

    ids = [entry.trajectory.id for entry in reversed(entries)]
    assert [line.split()[0] for line in table.splitlines()[1:]] == [name[:13] for name in ids]
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ids
    assert [json.loads(line)["id"] for line in filtered.splitlines()] == ids[:1]


def test_the_list_goes_on_after_the_last_one_shown(logs: Logs, store: Store) -> None:
    put(store, *(chat(created=float(number)) for number in range(5)))

    _, first, _ = logs("list", "-n", "3")
    command = first.splitlines()[-1].removeprefix("more: agentlm logs ").split()
    _, second, _ = logs(*command)

    assert len(first.splitlines()) == 5
    assert len(second.splitlines()) == 3


def test_a_list_fits_a_terminal_of_80_columns_with_the_models_name(
    logs: Logs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [chat(model="smollm2-135m-ft1", outcome=Outcome.REQUIRES_ACTION), agent_run()]
    put(store, *entries)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = Text.from_ansi(logs("list")[1]).plain.splitlines()
    assert len(rows) == 3
    assert max(map(len, rows)) <= 80
    assert "smollm2-135m-ft1" in rows[2]


def test_an_id_is_as_long_as_it_must_be_and_every_command_takes_it(
    logs: Logs, store: Store
) -> None:
    twins = [chat(id=f"traj_{'a' * 10}{end}{'0' * 21}") for end in "bc"]
    put(store, *twins, chat())

    listed = [line.split()[0] for line in logs("list")[1].splitlines()[1:]]
    assert sorted(map(len, listed)) == [13, 17, 17]
    assert len(set(listed)) == 3
    for short in listed:
        assert json.loads(logs("show", short, "--json")[1])["id"].startswith(short)
        assert logs("show", short.removeprefix("traj_"))[0] == 0
    assert len(logs("list", "--json", "--after", listed[0])[1].splitlines()) == 2
    assert logs("delete", listed[0])[0] == 0
    assert len(logs("list", "--json")[1].splitlines()) == 2


@pytest.mark.parametrize("beginning", ["", "traj_", "traj_aaa", "traj_aaaa"])
def test_nothing_is_deleted_by_a_beginning_that_may_mean_another(
    logs: Logs, store: Store, beginning: str
) -> None:
    put(store, *(chat(id=f"traj_{'a' * 31}{end}") for end in "bc"))
    assert logs("delete", beginning)[0] == 2
    assert len(logs("list", "--json")[1].splitlines()) == 2


@pytest.mark.parametrize(
    "command", ["list", "show traj_0000", "tail -f", "audit", "stats", "export", "delete traj_0000"]
)
def test_before_a_first_start_there_is_no_log_and_none_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    directory = tmp_path / "nowhere"
    assert main(["logs", *command.split(), "--data-dir", str(directory)]) == 2
    assert "there is no log yet" in capsys.readouterr().err
    assert not directory.exists()


def test_what_is_piped_on_is_not_filled_with_blanks(logs: Logs, store: Store) -> None:
    entry = agent_run()
    put(store, entry)
    for command in (["list"], ["show", entry.trajectory.id], ["stats"]):
        assert all(line == line.rstrip() for line in logs(*command)[1].splitlines())


def test_moments_are_dates_or_ages(logs: Logs, store: Store) -> None:
    put(store, chat(), chat(created=0.0))

    assert len(logs("list", "--json", "--since", "3h")[1].splitlines()) == 1
    assert len(logs("list", "--json", "--until", "2000-01-01")[1].splitlines()) == 1
    code, _, errors = logs("list", "--since", "yesterday")
    assert code == 2
    assert errors.startswith("agentlm: --since: must be a date")


def test_a_trajectory_is_shown_as_a_timeline(logs: Logs, store: Store) -> None:
    entry = agent_run()
    put(store, entry)
    feedback = Feedback(author="ann", value=True, comment="right")
    asyncio.run(store.add_feedback(feedback, trajectory_id=entry.trajectory.id))
    better = Feedback(author="ann", step=1, correction="ls | wc -l")
    asyncio.run(store.add_feedback(better, trajectory_id=entry.trajectory.id))

    _, output, _ = logs("show", entry.trajectory.id)

    for text in (
        "task db db-7",
        "outcome completed",
        "reward 1",
        "feedback reward 1 by ann: right",
        "feedback reward on step 1 by ann",
        "better: ls | wc -l",
    ):
        assert text in output
    rows = [line.split() for line in output.splitlines()]
    assert [row[1:] for row in rows if "user" in row] == ["3 user How many files?".split()]
    assert [row[1:] for row in rows if "I list them".split() == row[-3:]] == [
        "2 1.50s thought I list them".split()
    ]
    assert ["call", "bash", *CALL.arguments.split()] in rows
    assert [row[1:] for row in rows if "observation" in row] == [["1", "observation", "[b]a[/b]"]]
    assert "answer One file.".split() in rows


def test_a_trajectory_is_found_by_its_completion_or_its_beginning(logs: Logs, store: Store) -> None:
    entry = agent_run()
    assert entry.interaction is not None
    put(store, entry)

    names = (entry.interaction.completion_id, entry.trajectory.id[:12])
    found = [json.loads(logs("show", name, "--json")[1])["id"] for name in names]

    assert found == [entry.trajectory.id] * 2
    assert logs("show", "traj_nothing")[0] == 2


def test_long_texts_are_cut_unless_asked_for_whole(logs: Logs, store: Store) -> None:
    entry = Entry(trajectory(), 0, (prompt([1], text="x" * 5000),))
    put(store, entry)

    _, short, _ = logs("show", entry.trajectory.id)
    _, whole, _ = logs("show", entry.trajectory.id, "--full")

    assert "4,400 characters" in short
    assert whole.count("x") == 5000


def test_a_fork_shows_where_it_left_its_parent(logs: Logs, store: Store) -> None:
    parent = chat()
    child = fork(parent, 2)
    put(store, parent, child)

    _, output, _ = logs("show", child.trajectory.id)

    assert ["fork", "of", parent.trajectory.id] in [line.split() for line in output.splitlines()]


def test_the_calls_of_tools_are_listed_newest_first(store: Store, logs: Logs) -> None:
    async def add() -> None:
        for tool in ("bash", "sql", "bash"):
            record = AuditRecord(
                owner="ann",
                trajectory_id="traj_1",
                call_id="c",
                tool=tool,
                verdict="ok",
                arguments_digest="0",
                seconds=0.25,
            )
            await store.audit.add(record)

    asyncio.run(add())
    _, output, _ = logs("audit", "-n", "2")
    assert [line.split()[3] for line in output.splitlines()[1:-1]] == ["bash", "sql"]
    assert output.endswith("more: agentlm logs audit --after 2\n")
    _, rest, _ = logs("audit", "--after", "2", "--json")
    assert json.loads(rest)["tool"] == "bash"
    assert logs("audit", "--owner", "bob", "--json")[1] == ""


def test_tail_shows_the_last_steps(logs: Logs, store: Store) -> None:
    put(store, chat(), agent_run())

    _, output, _ = logs("tail", "-n", "3")

    lines = output.splitlines()
    assert [line.split()[2] for line in lines] == ["thought", "observation", "thought"]
    assert 'call bash {"command": "ls"} 2 tokens, 1.50s' in lines[0]


def test_tail_follows_until_interrupted(store: Store, tmp_path: Path) -> None:
    put(store, chat())
    command = [sys.executable, "-m", "agentlm.cli", "logs", "tail", "-f", "--data-dir", tmp_path]
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible)
    assert tail.stdout is not None

    first = [tail.stdout.readline() for _ in range(2)]
    put(store, agent_run())
    news = [tail.stdout.readline() for _ in range(4)]
    tail.send_signal(signal.SIGINT)
    code = tail.wait()
    tail.stdout.close()

    assert [line.split()[2] for line in first] == ["user", "answer"]
    assert [line.split()[2] for line in news] == ["user", "thought", "observation", "thought"]
    assert code == 130


def test_stats_count_what_is_selected(logs: Logs, store: Store) -> None:
    put(store, chat(reward=1.0), chat(outcome=Outcome.LIMIT), agent_run())

    _, table, _ = logs("stats")
    stats = json.loads(logs("stats", "--json", "--source", "agent")[1])

    assert "completed 2  limit 1" in table
    assert (stats["trajectories"], stats["sampled_tokens"]) == (1, 3)


@pytest.mark.parametrize("name", ["agentinstruct", "openai", "sharegpt", "jsonl"])
def test_what_is_exported_can_be_imported(
    logs: Logs, store: Store, tmp_path: Path, name: str
) -> None:
    put(store, agent_run(), chat())
    file = tmp_path / "rows.jsonl"
    other = tmp_path / "other"

    _, _, exported = logs("export", "--format", name, "--output", str(file))
    first = logs("import", str(file), "--format", name, "--reward", "1", data=other)
    again = logs("import", str(file), "--format", name, "--reward", "1", data=other)

    assert exported == "trajectories exported: 2\n"
    assert first == (0, "trajectories imported: 2\n", "")
    assert again == (0, "trajectories imported: 0, there already: 2\n", "")
    copies = Store.open(f"sqlite:///{other / 'agentlm.db'}")
    texts = [[step.text for step in one.steps] for one in copies.select(EVERYTHING)]
    rewards = {header.reward for header in copies.page(None)[0]}
    copies.close()
    assert [len(steps) for steps in texts] == [4, 2]
    assert rewards == {1.0}


def test_tries_at_tasks_that_are_solved_sometimes_are_exported(
    logs: Logs, store: Store, tmp_path: Path
) -> None:
    """Two of db-7 are solved, none of db-8, all of db-9; another rollout and kg solve what it does
    not, which says nothing of these tries."""
    tries = {
        ("db", "db-7"): [1.0, 0.0, 1.0, 1.0],
        ("db", "db-8"): [0.0, 0.0],
        ("db", "db-9"): [1.0, 1.0],
        ("kg", "db-8"): [1.0],
    }
    for (environment, task), rewards in tries.items():
        for reward in rewards:
            put(store, played(environment, task, reward, "mine"))
    put(store, played("db", "db-8", 1.0, "other"), played("db", "db-9", 0.0, "other"), chat())
    file = tmp_path / "rows.jsonl"
    command = ["export", "--output", str(file), "--tags", "rollout=mine", "--sometimes-solved"]

    def tasks(*flags: str) -> list[tuple[str, float]]:
        assert logs(*command, *flags)[0] == 0
        rows = map(json.loads, file.read_text().splitlines())
        return [(row["task_id"], row["reward"]) for row in rows]

    assert tasks("--min-reward", "1", "--per-task", "2") == [("db-7", 1.0)] * 2
    assert tasks("--min-reward", "1", "--limit", "1") == [("db-7", 1.0)]
    assert tasks() == [("db-7", 1.0), ("db-7", 0.0), ("db-7", 1.0), ("db-7", 1.0)]


def played(environment: str, task: str, reward: float, rollout: str) -> Entry:
    run = agent_run()
    header = run.trajectory.model_copy(
        update={
            "id": f"traj_{environment}{task}{rollout}{os.urandom(4).hex()}",
            "environment": environment,
            "task_id": task,
            "reward": reward,
            "metadata": {"rollout": rollout},
        }
    )
    return replace(run, trajectory=header)


def test_the_record_survives_a_round_trip_whole(logs: Logs, store: Store, tmp_path: Path) -> None:
    parent = agent_run()
    put(store, parent, fork(parent, 2))
    for value in (0.0, 0.5):
        feedback = Feedback(author="ann", value=value, created=value)
        asyncio.run(store.add_feedback(feedback, trajectory_id=parent.trajectory.id))
    file, other = tmp_path / "rows.jsonl", tmp_path / "other"
    logs("export", "--output", str(file))

    logs("import", str(file), data=other)

    copies = Store.open(f"sqlite:///{other / 'agentlm.db'}")
    assert list(copies.select(EVERYTHING)) == list(store.select(EVERYTHING))
    copies.close()


def test_a_fork_without_its_parent_is_imported_alone(
    logs: Logs, store: Store, tmp_path: Path
) -> None:
    parent = chat(model="other")
    child = fork(parent, 2)
    put(store, parent, child)
    file, other = tmp_path / "rows.jsonl", tmp_path / "other"
    logs("export", "--model", "tiny", "--output", str(file))

    logs("import", str(file), data=other)

    copies = Store.open(f"sqlite:///{other / 'agentlm.db'}")
    read = copies.get(child.trajectory.id, None)
    copies.close()
    assert read is not None
    assert read.parent_id is None
    assert read.steps == parent.steps + child.steps


def test_loss_marks_go_in_and_come_out(logs: Logs, store: Store, tmp_path: Path) -> None:
    row = {
        "id": "os_1",
        "conversations": [
            {"from": "human", "loss": None, "value": "a"},
            {"from": "gpt", "loss": False, "value": "b"},
            {"from": "human", "loss": None, "value": "c"},
            {"from": "gpt", "loss": True, "value": "d"},
        ],
    }
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    logs("import", str(file), "--format", "agentinstruct", "--environment", "os")

    _, exported, _ = logs("export", "--format", "agentinstruct", "--environment", "os")

    assert json.loads(exported) == row


def test_malformed_rows_are_counted_and_named(logs: Logs, tmp_path: Path) -> None:
    good = json.dumps(to_agentinstruct(Trajectory(owner="a", source="chat", model="m")))
    file = tmp_path / "rows.jsonl"
    turn = '{"from": "gpt", "loss": true, "value": "a"}'
    rows = [
        f'{{"id": "a", "conversations": [{turn}]}}',
        "",
        good,
        "{not json",
        '[{"id": "a"}]',
        '{"id": "b", "conversations": [{"from": "robot", "value": "a"}]}',
        f'{{"id": "c", "conversations": {"[" * 5_000}{"]" * 5_000}}}',
    ]
    file.write_bytes("\n".join(rows).encode() + b"\n\xff\xfe")

    code, output, named = logs("import", str(file), "--format", "agentinstruct")

    assert code == 1
    assert output == "trajectories imported: 1, malformed: 6\n"
    places = [line.removeprefix(f"{file}:").split(":")[0] for line in named.splitlines()]
    assert places == ["3", "4", "5", "6", "7", "8"]
    assert "conversations.0.from: Input should be 'system', " in named
    assert "got 'robot'" in named
    assert "jq -c" in named


def test_a_missing_file_is_one_line(logs: Logs, tmp_path: Path) -> None:
    code, _, errors = logs("import", str(tmp_path / "none.jsonl"))

    assert code == 2
    assert (
        errors == f"agentlm: {tmp_path / 'none.jsonl'} can't be read: No such file or directory\n"
    )


def test_an_export_that_fails_leaves_no_file(logs: Logs, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "missing"

    code, _, errors = logs("export", "--output", str(folder / "rows.jsonl"))

    assert code == 2
    assert errors.endswith("rows.jsonl can't be written: No such file or directory\n")
    assert not folder.exists()


def test_deleting_says_what_was_not_there(logs: Logs, store: Store) -> None:
    entry = chat()
    put(store, entry)

    code, output, _ = logs("delete", entry.trajectory.id, "traj_other")

    assert code == 1
    assert output.splitlines() == [
        f"{entry.trajectory.id} is deleted",
        "there is no trajectory traj_other",
    ]
    assert store.page(None) == ([], False)


def test_deleting_removes_the_work_directory_and_no_other(
    logs: Logs, store: Store, tmp_path: Path
) -> None:
    entry = chat()
    put(store, entry)
    kept = tmp_path / "sandboxes" / "traj_other" / "workspace"
    gone = tmp_path / "sandboxes" / entry.trajectory.id / "workspace" / "deep"
    for directory in (kept, gone):
        directory.mkdir(parents=True)
        (directory / "file").write_text("x")
    gone.chmod(0o500)

    logs("delete", entry.trajectory.id, "traj_other", "../sandboxes")

    assert [path.name for path in (tmp_path / "sandboxes").iterdir()] == ["traj_other"]
    assert (kept / "file").exists()


def test_deleting_says_which_models_hold_the_row(
    logs: Logs, store: Store, tmp_path: Path, chatml_llama: Path
) -> None:
    entry = chat()
    put(store, entry)
    asyncio.run(store.mark_trained("one", [entry.trajectory.id]))
    registry = Registry(tmp_path)
    for name, parent in (("one", "tiny"), ("two", "one"), ("other", "tiny")):
        card = {"name": name, "parent": parent}
        registry.add(ModelCard(source="local", location=str(chatml_llama), **card))

    _, output, _ = logs("delete", entry.trajectory.id)

    assert output.splitlines() == [
        f"{entry.trajectory.id} is deleted",
        "  but models were trained on it: one, two",
    ]


def test_deleting_says_which_runs_hold_the_row_whatever_became_of_them(
    logs: Logs, store: Store, tmp_path: Path
) -> None:
    entry = chat()
    put(store, entry)
    mine, longer = f"{entry.trajectory.id}\n", f"{entry.trajectory.id}0\n"
    sources = {"failed/agent": "x\n" + mine, "failed/general-0": mine, "other/agent": longer}
    for source, names in sources.items():
        (tmp_path / "runs" / source).mkdir(parents=True)
        (tmp_path / "runs" / source / "names.txt").write_text(names)

    _, output, _ = logs("delete", entry.trajectory.id)

    assert output.splitlines() == [
        f"{entry.trajectory.id} is deleted",
        f"  and its text is still in {tmp_path / 'runs' / 'failed'}",
    ]
