"""A server as it looks after some weeks of use: what pictures of the page show.

Three people and a nightly job have asked it things, two trainings have run, the gate has measured
what came of them. Nothing is random: the pictures of a version that changed nothing are the same.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentlm.agent.tool import ToolContext
from agentlm.models.aliases import Promotion, Verdict
from agentlm.models.registry import Registry
from agentlm.prompt.observation import observe
from agentlm.prompt.render import Renderer, Turn
from agentlm.store import ApiKey, Entry
from agentlm.trajectory import Feedback, Outcome, Step, Trajectory
from support.background import in_background
from support.browser import elsewhere
from support.finetune_logs import sampled
from support.learning import begun, difference, evaluated, report, row, succeed, trained
from support.records import TOOL, interaction
from support.serving import Bash, Running, running
from support.tiny import tiny_renderer

PREAMBLE = """You can use these tools:
- bash: Run a shell command and get what it prints.
- sql: Run one SQL statement on the database and see its rows.
"""
BASE = "smollm2-135m"
MADE = "shop-agent-2"
OLDER = "shop-agent-1"


@dataclass(frozen=True)
class Try:
    """A question that is asked again and again, and how it went."""

    asked: str
    environment: str | None
    turns: tuple[str, ...]
    observed: tuple[str, ...] = ()
    reward: float | None = None
    outcome: Outcome = Outcome.COMPLETED
    owner: str = "ann"


def _call(thought: str, tool: str, **arguments: str) -> str:
    return f"Thought: {thought}\nAction: {tool}\nAction Input: {json.dumps(arguments)}"


def _answer(thought: str, answer: str) -> str:
    return f"Thought: {thought}\nFinal Answer: {answer}"


QUESTION = "How many programs in /usr/bin start with z?"
_COUNT = "SELECT COUNT(*) FROM orders WHERE city = 'Lisbon' AND paid = 1"
TRIES = (
    Try(
        "How many paid orders came from Lisbon?",
        "db",
        (
            _call("I need the table's columns first.", "sql", query="PRAGMA table_info(orders)"),
            _call("City and paid are columns: I count.", "sql", query=_COUNT),
            _answer("The count is there.", "41"),
        ),
        ("id, city, paid, total, placed_on", "COUNT(*)\n41"),
        1.0,
        owner="nightly",
    ),
    Try(
        QUESTION,
        "os",
        (
            _call("I list the programs and count them.", "bash", command="ls /usr/bin/z* | wc -l"),
            _answer("I have the number.", "12"),
        ),
        ("12",),
        1.0,
        owner="nightly",
    ),
    Try(
        "Which river flows through the capital of Austria?",
        "kg",
        (
            _call("Vienna is the capital.", "get_relations", variable="Vienna"),
            _answer("I know it.", "The Rhine"),
        ),
        ("[location.capital_of, geography.river, location.country]",),
        0.0,
        owner="nightly",
    ),
    Try("What is the capital of France?", None, ("The capital of France is Paris.",), reward=1.0),
    Try(
        "Free disk space on /srv, in gigabytes?",
        None,
        (
            _call("df tells it.", "bash", command="df -BG /srv | tail -1"),
            _call("That path is not there. I look at all.", "bash", command="df -BG"),
            _answer("The root holds it.", "/srv is on the root disk, which has 41 GB free."),
        ),
        ("df: /srv: No such file or directory", "overlay  96G  55G  41G  58% /"),
        owner="ben",
    ),
    Try(
        "Raise every salary in 'sales' by 5 percent.",
        "db",
        tuple(
            _call("I update the rows.", "sql", query=f"UPDATE staff SET pay = pay * 1.05  -- {n}")
            for n in range(4)
        ),
        ("Error: no such table: staff",) * 3,
        0.0,
        Outcome.LIMIT,
        "nightly",
    ),
    Try("Write a haiku about queues.", None, ("Requests in a row,\n",), outcome=Outcome.CANCELLED),
    Try(
        "Which of our three shops sold most last week?",
        None,
        (_call("I ask the database.", "sql", query="SELECT shop, SUM(total) FROM sales"),),
        outcome=Outcome.REQUIRES_ACTION,
        owner="ben",
    ),
)
MANY = 120

_REPLIES = (
    _call(
        "I list the programs whose names start with z.", "bash", command="ls /usr/bin/z* | wc -l"
    ),
    _answer("I have the number.", "12 programs in /usr/bin start with z."),
)


def recorded(by: Renderer, now: float) -> list[Trajectory]:
    """The log, oldest first."""
    return [_trajectory(by, TRIES[-1 - index % len(TRIES)], index, now) for index in range(MANY)]


def _trajectory(by: Renderer, one: Try, index: int, now: float) -> Trajectory:
    age_s = (MANY - index) ** 2 * 31.0
    agent = bool(one.observed) or one.outcome is Outcome.REQUIRES_ACTION
    return Trajectory(
        owner=one.owner,
        source="rollout" if one.environment else "agent" if agent else "chat",
        model=MADE if index > MANY // 2 else BASE,
        environment=one.environment,
        task_id=one.environment and f"{one.environment}-{index:03}",
        tools=(TOOL,) if agent else (),
        outcome=one.outcome,
        created=now - age_s,
        steps=_steps(by, one, now - age_s),
    )


def _steps(by: Renderer, one: Try, start: float) -> tuple[Step, ...]:
    steps = by.open([Turn("user", one.asked)], preamble=PREAMBLE if one.observed else "")
    for index, text in enumerate(one.turns):
        if index:
            observed = one.observed[index - 1]
            [seen] = by.extend([Turn("user", observe(observed), "call_1")])
            failed = "Error" in observed or "No such" in observed
            observation = {
                "role": "tool",
                "failed": failed,
                "seconds": 0.04,
                "tool_call_id": "call_1",
            }
            steps.append(seen.model_copy(update=observation))
        steps.append(_told(by, text))
    return tuple(
        step.model_copy(update={"started": start + 1.7 * index}) for index, step in enumerate(steps)
    )


def _told(by: Renderer, text: str) -> Step:
    """What the model said, likely words and unlikely ones."""
    step = sampled(by, text)
    ids = step.token_ids or ()
    doubts = [-1.9 * max(0.0, math.sin(token * 12.9898 + 1)) ** 6 for token in ids]
    only = tuple(by.decode([token]).strip() in ("Thought", "Action", ":") for token in ids)
    facts: dict[str, Any] = {"logprobs": tuple(doubts), "single_choice": only, "seconds": 1.6}
    return step.model_copy(update=facts)


# -- Learning --------------------------------------------------------------------------------------

_TASKS = 60


def learnt(data_dir: Path, now: float) -> None:
    """Leave two successors, what the gate said of them, and a job that is not done."""
    registry = Registry(data_dir)
    lost = ["os: success fell by 8.3% (interval −15.0% … −1.7%)", "probe: 2 of 40 answers broke"]
    succeed(registry, data_dir, OLDER, base=BASE, at=now - 9_000, gain=-0.012, reasons=lost)
    succeed(registry, data_dir, MADE, BASE, now - 8_000, gain=0.31, passed=True, reasons=[])
    trained(begun(data_dir, base=BASE, at=int(now) - 3_000), 84, 240, "It ends without an answer.")
    for number, (candidate, gains) in enumerate(
        ((OLDER, (0.08, -0.083, 0.0)), (MADE, (0.52, 0.31, 0.1)))
    ):
        _measured(data_dir, f"gate-{candidate}", candidate, gains, now - (2 - number) * 4_000)


def promoted(data_dir: Path, now: float) -> None:
    """Say who was production when. After the server began: it would look for the files of both."""
    verdict = Verdict(candidate=MADE, incumbent=BASE, passed=True, gain=0.31, reasons=())
    first = Promotion(card=BASE, at=now - 20 * 86_400, forced="the first model that answers")
    aliases = Registry(data_dir).aliases
    aliases.add("production", first)
    aliases.add("production", Promotion(card=MADE, at=now - 7_200, verdict=verdict))


def _measured(data_dir: Path, name: str, candidate: str, gains: Sequence[float], at: float) -> None:
    rows, differences = [], []
    for environment, base, gain in zip(("db", "os", "kg"), (0.13, 0.28, 0.05), gains, strict=True):
        rows += [_row(BASE, environment, base), _row(candidate, environment, base + gain)]
        apart = {"environment": environment, "tasks": _TASKS, "difference": gain}
        interval = [gain - 0.09, gain + 0.09]
        differences.append({**difference(BASE, candidate), **apart, "interval": interval})
    sets = report(*rows, differences=differences)
    evaluated(data_dir, name, sets, (BASE, candidate), TRIES[0].asked, at=at)


def _row(model: str, environment: str, success: float) -> dict[str, Any]:
    half = 1.96 * math.sqrt(success * (1 - success) / _TASKS)
    missed = 1 - success
    classes = {"wrong_answer": 0.6 * missed, "invalid_format": 0.3 * missed, "limit": 0.1 * missed}
    return row(
        model,
        success,
        environment=environment,
        asked=_TASKS,
        judged=_TASKS,
        interval=[max(0.0, success - half), min(1.0, success + half)],
        error_classes=classes,
        families={"counting": [round(20 * success), 20], "ranking": [round(40 * success), 40]},
        floors={"all": {"constant": 0.1, "random": 0.02, "answer": "", "tasks": _TASKS}},
    )


class _Counts(Bash):
    """Run a shell command and get what it prints."""

    async def run(self, args: Bash.Args, context: ToolContext) -> str:
        return "12"


@contextmanager
def after_weeks(data_dir: Path) -> Iterator[Running]:
    """A server on such a data directory, which answers QUESTION; its administrator's key is
    `root`."""
    now = time.time()
    learnt(data_dir, now)
    options = {
        "api_key": "root",
        "name": MADE,
        "delay_s": 0.005,
        "families": {"bash": (_Counts(),)},
    }
    with in_background(running(data_dir, _REPLIES, "chatml", options)) as server:
        promoted(data_dir, now)
        elsewhere(_write(server, recorded(tiny_renderer(), now)))
        yield server


async def _write(server: Running, log: Sequence[Trajectory]) -> None:
    for name, limit in (("ann", 600), ("ben", 60), ("nightly", None)):
        await server.store.keys.create(ApiKey(name=name, requests_per_minute=limit))
    for index, one in enumerate(log):
        answered = interaction(one, 0, len(one.steps), completion_id=f"chatcmpl-{index}")
        await server.store.append(Entry(one, 0, one.steps, answered))
        reward = TRIES[-1 - index % len(TRIES)].reward
        if reward is not None and one.environment:
            await server.store.score(one.id, None, reward=reward)
        elif reward is not None:
            liked = Feedback(author=one.owner, value=True, comment="Right, and short.")
            await server.store.add_feedback(liked, trajectory_id=one.id)
