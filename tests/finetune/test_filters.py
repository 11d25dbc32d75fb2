"""Each filter finds its problem, and leaves what is well alone."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from agentlm.finetune.filters.dedupe import Cap, NearDuplicates, task_of
from agentlm.finetune.filters.leaks import Leaks, read_tasks
from agentlm.finetune.filters.rules import CONTENT_FILTERS, evaluation_task, low_reward
from agentlm.finetune.filters.scrub import scrub_text
from agentlm.finetune.settings import SkippableFilter
from agentlm.messages import ToolSpec
from agentlm.prompt.render import Renderer
from agentlm.trajectory import Outcome, Trajectory
from support.finetune_logs import ANSWER, CALL, conversation, trajectory
from support.tiny import CORPUS

TASK = "How many programs in /usr/bin start with z?"
BASH = ToolSpec(name="bash", description="Run it.", parameters={"type": "object"}, owner="server")


def played(by: Renderer, *turns: str, task: str = TASK, **fields: object) -> Trajectory:
    observed = str(fields.pop("observed", "12"))
    steps = conversation(by, task, *turns, observed=observed)
    return trajectory(steps, **({"tools": (BASH,)} | fields))


def test_a_good_trajectory_passes_every_filter(by: Renderer) -> None:
    good = played(by, CALL, ANSWER)

    assert {name: judge(good) for name, judge in CONTENT_FILTERS.items()} == dict.fromkeys(
        CONTENT_FILTERS
    )


def test_each_problem_is_found_by_the_filter_of_its_name(by: Renderer) -> None:
    failed = played(by, CALL, ANSWER)
    steps = [s.model_copy(update={"failed": s.tool_call_id is not None}) for s in failed.steps]
    bad = {
        "no_answer": played(by, CALL, "Thought: I give up on the programs."),
        "ends_in_error": failed.model_copy(update={"steps": tuple(steps)}),
        "repeated_action": played(by, CALL, CALL, CALL, ANSWER),
        "claimed_change": played(
            by, "Thought: The programs.\nFinal Answer: I have deleted all programs."
        ),
        "unrelated_thought": played(
            by, "Thought: the red shirt costs least among those offered.\nFinal Answer: B"
        ),
        "raw_escapes": played(by, CALL, ANSWER, observed="\x1b[31m12\x1b[0m"),
    }

    assert bad.keys() == CONTENT_FILTERS.keys()
    for name, trajectory_ in bad.items():
        assert CONTENT_FILTERS[name](trajectory_), name


def test_a_call_that_a_limit_cut_off_is_no_answer(by: Renderer) -> None:
    cut = played(by, CALL, outcome=Outcome.LIMIT)
    waiting = played(by, CALL, outcome=Outcome.REQUIRES_ACTION)

    assert CONTENT_FILTERS["no_answer"](cut)
    assert CONTENT_FILTERS["no_answer"](waiting) is None


def test_evaluation_tasks_and_low_rewards_are_left_out(by: Renderer) -> None:
    for split in ("dev", "dev2", "test", "test-kinds"):
        assert evaluation_task("train")(played(by, ANSWER, metadata={"split": split}))
    assert evaluation_task("train")(played(by, ANSWER, metadata={"split": "train"})) is None
    assert low_reward(1.0)(played(by, ANSWER, reward=0.5)) == "reward 0.5 < 1"


def test_near_duplicates_are_kept_once(by: Renderer) -> None:
    judge = NearDuplicates()
    long = " ".join(CORPUS[0].split()[:300])
    first = played(by, CALL, f"Thought: {long}\nFinal Answer: 12 programs start with z.")
    again = played(by, CALL, f"Thought: {long}\nFinal Answer: 13 programs start with z.")
    other = played(by, CALL, ANSWER, task="Which capital has the most people?")

    assert judge(first) is None
    assert judge(again)
    assert judge(other) is None


def test_a_task_gives_only_so_many_rows(by: Renderer) -> None:
    cap = Cap(2, task_of)
    rows = [played(by, ANSWER, environment="db", task_id="t1") for _ in range(3)]

    assert [cap(row) is None for row in rows] == [True, True, False]
    assert cap(played(by, ANSWER)) is None


def test_a_row_that_holds_an_evaluation_task_is_left_out(by: Renderer, tmp_path: Path) -> None:
    task = "Find how many files in the directory /etc and below it end in .conf and report it."
    changed = task.replace("directory", "folder").replace("report it", "tell me")
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(f'{{"description": "{task}"}}\n')
    leaks = Leaks(read_tasks([tasks]))

    assert leaks(played(by, ANSWER, task=f"Please. {changed} Thank you very much."))
    assert leaks(played(by, ANSWER, task="Find out who lives in the directory of Berlin.")) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("export API_KEY=abcd1234efgh5678", "export API_KEY=[SECRET]"),
        ("https://ann:hunter22@db.example/x", "https://ann:[SECRET]@db.example/x"),
        ('password "hunter22";', 'password "[SECRET]";'),
        ("token ghp_abcdefghijklmnopqrstuvwxyz0123456789", "token [SECRET]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\n", "[SECRET]\n"),
        ("d41d8cd98f00b204e9800998ecf8427e  notes.txt", None),
        ("SELECT token FROM keys WHERE name = 'abcdefgh'", None),
        ("write to bob@example.com", None),
    ],
)
def test_secrets_are_replaced_and_nothing_else(text: str, kept: str | None) -> None:
    found: list[str] = []

    assert scrub_text(text, "secrets", found.append) == (kept or text)
    assert bool(found) == (kept is not None)


def test_personal_data_is_replaced_only_if_asked() -> None:
    found: list[str] = []
    text = "bob@example.com, +49 170 1234567, 4111 1111 1111 1111"

    assert scrub_text(text, "personal", found.append) == "[EMAIL], [PHONE], [CARD]"
    assert found == ["email", "card", "phone"]


def test_every_rule_about_content_can_be_skipped_by_its_name() -> None:
    assert set(CONTENT_FILTERS) <= set(get_args(SkippableFilter))
