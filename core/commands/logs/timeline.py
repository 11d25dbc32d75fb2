"""A trajectory as a person reads it: who said what, when, in how many tokens."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentlm.prompt.observation import observed
from agentlm.trajectory import Feedback, Origin, Step, Trajectory

SHOWN_CHARACTERS, SHOWN_LINES = 600, 12
"""Longer texts are cut in the middle unless the whole text is wanted."""

SHORT_ID = 13
"""Characters of an id in a list: `traj_` and eight digits."""

_STYLES = {
    "system": "dim",
    "user": "bold",
    "thought": "italic",
    "call": "cyan",
    "observation": "dim",
    "answer": "green",
    "forced": "magenta",
    "error": "red",
}


def timeline(trajectory: Trajectory, *, full: bool = False) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for name in ("at", "tokens", "took"):
        table.add_column(name, justify="right", style="dim", no_wrap=True)
    table.add_column("who", no_wrap=True)
    table.add_column("what", overflow="fold")
    for number, step in enumerate(trajectory.steps):
        if number and number == trajectory.parent_step:
            table.add_row("", "", "", Text("fork", "magenta"), f"of {trajectory.parent_id}")
        _add_step(table, trajectory, step, full=full)
    judged = [Text(_judgement(feedback)) for feedback in trajectory.feedback]
    return Group(_head(trajectory), Text(), table, *([Text(), *judged] if judged else []))


def lines(step: Step) -> Iterator[tuple[str, str]]:
    """The parts of a step, as pairs of speaker and text."""
    if step.role == "tool":
        who = "error" if step.failed else "observation"
        yield who, observed(step.text)
    elif step.role != "assistant":
        yield step.role, step.text
    elif step.thought is None and step.call is None and step.answer is None:
        if step.text or step.origin is not Origin.FORCED:
            yield "forced" if step.origin is Origin.FORCED else "answer", step.text
    else:
        if step.thought is not None:
            yield "thought", step.thought
        if step.call is not None:
            yield "call", f"{step.call.name} {step.call.arguments}"
        if step.answer is not None:
            yield "answer", step.answer
    if step.error is not None:
        yield "error", step.error


def shorten(text: str, limit: int) -> str:
    """The text, with its middle left out if it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {len(text) - 2 * half:,} characters … {text[-half:]}"


def one_line(step: Step, trajectory_id: str) -> Text:
    """A step as a line in a list of many."""
    clock = datetime.datetime.fromtimestamp(step.started).strftime("%H:%M:%S")
    line = Text.assemble((clock, "dim"), f" {trajectory_id[:SHORT_ID]} ")
    for who, what in lines(step):
        line.append(f"{who} ", _STYLES[who])
        line.append(shorten(" ".join(what.split()), 160) + " ")
    line.append(_measure(step), "dim")
    return line


def when(created: float) -> str:
    """Local date and time."""
    return datetime.datetime.fromtimestamp(created).strftime("%Y-%m-%d %H:%M:%S")


def briefly(created: float) -> str:
    """The local time if it is today, else the date of this year, else the year."""
    moment, now = datetime.datetime.fromtimestamp(created), datetime.datetime.now()
    if moment.date() == now.date():
        return moment.strftime("%H:%M")
    return moment.strftime("%m-%d" if moment.year == now.year else "%Y")


def _head(trajectory: Trajectory) -> Text:
    reward = "none" if trajectory.reward is None else f"{trajectory.reward:g}"
    task = " ".join(filter(None, (trajectory.environment, trajectory.task_id)))
    facts = [
        trajectory.model,
        trajectory.source,
        when(trajectory.created),
        f"owner {trajectory.owner}",
        *([f"task {task}"] if task else []),
        f"outcome {trajectory.outcome}",
        f"reward {reward}",
    ]
    return Text.assemble((trajectory.id, "bold"), "\n", " · ".join(facts))


def _add_step(table: Table, trajectory: Trajectory, step: Step, *, full: bool) -> None:
    at = f"+{max(0.0, step.started - trajectory.created):.1f}s"
    tokens = "" if step.token_ids is None else str(len(step.token_ids))
    took = f"{step.seconds:.2f}s" if step.seconds else ""
    for who, what in lines(step):
        text = what if full else _excerpt(what)
        table.add_row(at, tokens, took, Text(who, _STYLES[who]), Text(text, _STYLES[who]))
        at = tokens = took = ""


def _excerpt(text: str) -> str:
    rows = text.strip("\n").split("\n")
    if len(rows) > SHOWN_LINES:
        half = SHOWN_LINES // 2
        rows = [*rows[:half], f"… {len(rows) - 2 * half:,} lines …", *rows[-half:]]
    return shorten("\n".join(rows), SHOWN_CHARACTERS)


def _measure(step: Step) -> str:
    tokens = [] if step.token_ids is None else [f"{len(step.token_ids)} tokens"]
    took = [f"{step.seconds:.2f}s"] if step.seconds else []
    return ", ".join(tokens + took)


def _judgement(feedback: Feedback) -> str:
    value = "" if feedback.value is None else f" {float(feedback.value):g}"
    place = "" if feedback.step is None else f" on step {feedback.step}"
    comment = f": {feedback.comment}" if feedback.comment else ""
    better = f"\n  better: {feedback.correction}" if feedback.correction else ""
    return f"feedback {feedback.name}{value}{place} by {feedback.author}{comment}{better}"
