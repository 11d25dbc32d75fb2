"""AgentInstruct's own texts: what is written is read back, and runs go on as one trajectory."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from agentlm.environments.agentinstruct import DbTexts, KgTexts, OsTexts, TextGrammar
from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.os.generate import tasks as os_tasks
from agentlm.environments.playing.log_recording import steps_of
from agentlm.environments.playing.model_player import Decoding, connected
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import GoldPlayer
from agentlm.environments.playing.text_player import TextPlayer
from agentlm.environments.task import Action, Task
from agentlm.trajectory import Origin
from support.serving import running

KG = KgTexts({"get_neighbors": ("variable", "relation"), "count": ("variable",)})


def db_tasks(count: int) -> list[Task]:
    return list(islice(DbEnvironment().generate("train"), count))


@pytest.mark.parametrize(
    ("grammar", "tasks"),
    [(DbTexts(), db_tasks(40)), (OsTexts(), list(islice(os_tasks("train"), 40)))],
)
def test_what_an_expert_writes_is_read_back(grammar: TextGrammar, tasks: list[Task]) -> None:
    for move in (move for task in tasks for move in task.gold):
        reading = grammar.read(grammar.turn(move.thought, move.action, move.answer))
        assert reading.thought == move.thought
        assert reading.invalid is None
        assert (reading.answer is None) == (move.answer is None)
        if move.action:
            assert reading.action == move.action


@pytest.mark.parametrize(
    ("grammar", "text", "action"),
    [
        (
            DbTexts(),
            "I look.\nAction: Operation\n```sql\nSELECT 1;\n```",
            Action(name="sql", arguments={"query": "SELECT 1;"}),
        ),
        (
            OsTexts(),
            "Think: a\n\nAct: answer(1)\n\nAct: bash\n\n```bash\nls -la\n```",
            Action(name="bash", arguments={"command": "ls -la"}),
        ),
        (
            KG,
            "Thought: next\nAction: get_neighbors(#0, place.capital)\nObservation: #1",
            Action(name="get_neighbors", arguments={"variable": "#0", "relation": "place.capital"}),
        ),
    ],
)
def test_turns_of_the_data_set_are_read(grammar: TextGrammar, text: str, action: Action) -> None:
    assert grammar.read(text).action == action


@pytest.mark.parametrize(
    ("grammar", "text", "answer"),
    [
        (DbTexts(), 'So.\nAction: Answer\nFinal Answer: ["7"]', '["7"]'),
        (OsTexts(), "Think: it printed (7)\n\nAct: answer(f(x) = 7)", "f(x) = 7"),
        (OsTexts(), "Think: it is made\n\nAct: finish", "done"),
        (KG, "Thought: so\nFinal Answer: #2", "#2"),
    ],
)
def test_answers_of_the_data_set_are_read(grammar: TextGrammar, text: str, answer: str) -> None:
    assert grammar.read(text).answer == answer


@pytest.mark.parametrize("grammar", [DbTexts(), OsTexts(), KG])
def test_a_turn_without_an_action_is_invalid(grammar: TextGrammar) -> None:
    assert grammar.read("I would rather talk about the weather.").invalid


async def test_a_run_in_text_is_one_trajectory(tmp_path: Path) -> None:
    environment, grammar = DbEnvironment(), DbTexts()
    task = next(task for task in db_tasks(100) if len(task.gold) == 4)
    expert = await play(environment, task, GoldPlayer())
    turns = [step.text for step in steps_of(expert, grammar) if step.role == "assistant"][1:]
    async with (
        running(tmp_path, turns, "chatml", {}) as server,
        connected(server.url, "tiny", Decoding()) as model,
    ):
        run = await play(environment, task, TextPlayer(model, grammar))
        [trajectory] = server.trajectories()
    assert run.reward == 1.0
    assert trajectory.tools == ()
    sampled = [step.text for step in trajectory.steps if step.origin is Origin.SAMPLED]
    assert sampled == turns
