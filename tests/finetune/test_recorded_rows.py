"""Rows that bring a record of their own are held to what the log's rows are held to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agentlm.exchange import to_record
from agentlm.finetune.data.prepare import Prepared, prepare
from agentlm.finetune.settings import FinetuneSettings
from agentlm.prompt.render import Renderer, Turn
from agentlm.store import Store
from agentlm.trajectory import Feedback, Outcome, Trajectory
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    sampled,
    trajectory,
    write_log,
)


def run(data_dir: Path, rows: Sequence[object], **settings: Any) -> Prepared:
    """A run on the rows of one file."""
    path = data_dir / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return prepare(FinetuneSettings(data_dir=data_dir, base="tiny", data=(str(path),), **settings))


def dropped(prepared: Prepared, source: str = "agent") -> dict[str, int]:
    found: dict[str, int] = prepared.run.read("selection.json")[source]["dropped"]
    return found


def test_an_exported_row_is_refused_for_what_its_record_says(data_dir: Path, by: Renderer) -> None:
    def played(word: str, **fields: Any) -> dict[str, Any]:
        steps = conversation(by, f"How many {word} are left?", CALL, ANSWER)
        return to_record(trajectory(steps, **fields))

    prepared = run(
        data_dir,
        [
            played("apples"),
            played("berries", reward=None),
            played("cherries", reward=0.0),
            played("damsons", may_train=False),
            played("elderberries", outcome=Outcome.ERROR, reward=None),
            played("figs", metadata={"split": "test"}),
        ],
        skip_filters=("near_duplicate",),
    )

    assert dropped(prepared) == {
        "low_reward": 1,
        "may_not_train": 1,
        "outcome": 1,
        "evaluation_task": 1,
    }
    assert len(prepared.sources()[0].rows) == 2


def test_a_chat_that_was_judged_badly_or_played_for_evaluation_is_no_general_row(
    data_dir: Path, by: Renderer
) -> None:
    def chat(question: str, answer: str, **fields: Any) -> Trajectory:
        steps = [*by.open([Turn("user", question)]), sampled(by, answer)]
        return trajectory(steps, source="chat", reward=None, **fields)

    agent = trajectory(conversation(by, "How many?", CALL, ANSWER))
    kind = chat("Sing a song for me!", "La la la.")
    rude = chat("Who are you, assistant?", "Go away!")
    held_out = chat("A question of the test split", "Its answer.", metadata={"split": "test"})
    url = write_log(data_dir, [agent, kind, rude, held_out])
    bad = Feedback(author="ann", value=False)

    async def judge(store: Store) -> None:
        await store.add_feedback(bad, trajectory_id=rude.id, admin=True)

    with closing(Store.open(url)) as store:
        asyncio.run(judge(store))

    prepared = prepare(FinetuneSettings(data_dir=data_dir, from_logs=True, general=("log",)))

    assert dropped(prepared, "general-0") == {"low_reward": 1, "evaluation_task": 1}
    assert list(prepared.sources()[1].rows.names()) == [kind.id]


def agentinstruct(name: str, *values: str) -> dict[str, Any]:
    turns = [
        {"from": "gpt", "loss": index > 1, "value": value}
        if index % 2
        else {"from": "human", "loss": None, "value": value}
        for index, value in enumerate(values)
    ]
    return {"id": name, "conversations": turns}


def test_what_a_reward_misses_is_found_in_rows_of_files(data_dir: Path) -> None:
    query = "I look at it.\nAction: Operation\n```sql\nSELECT fruit FROM garden\n```"
    error = "(1146, \"Table 'garden' doesn't exist\")"
    begin = ("You can query a database.", "Ok.")
    rows = [
        agentinstruct("db_1", *begin, "Which fruit?", query, "[('fig',)]", f"{query[:-9]}box\n```"),
        agentinstruct("db_2", *begin, "Count the apples.", *[query, error] * 3),
        agentinstruct("os_1", *begin, "List it.", "Think: go\n\nAct: bash", "\x1b[31mred\x1b[0m"),
        agentinstruct(
            "mind2web_1",
            *begin,
            "Reserve a table at the harbour restaurant.",
            "Thought: cheapest flights towards Lisbon\nAnswer: C.\nAction: CLICK",
        ),
    ]

    prepared = run(data_dir, rows)

    assert dropped(prepared) == {"repeated_action": 1, "raw_escapes": 1, "unrelated_thought": 1}
    exported = (prepared.run.directory / "agentinstruct.jsonl").read_text().splitlines()
    assert [json.loads(row) for row in exported] == rows[:1]

    kept_all = run(data_dir, rows, skip_filters=tuple(dropped(prepared)))
    assert dropped(kept_all) == {}
