"""The filters. Each has a name, and gives a reason for leaving out a trajectory.

A reward misses problems that even AgentInstruct's own rows have: a claimed change that was never
made, a run that ends in an error, one that repeats itself, a thought about another task, no answer
at the end. A filter reads what was recorded and parsed, and never parses the text again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from agentlm.exchange.text import is_plain
from agentlm.finetune.filters.rewards import approved_by_person, step_rewards
from agentlm.trajectory import Outcome, Step, Trajectory

Filter = Callable[[Trajectory], str | None]
"""Returns the reason for leaving out a trajectory; None keeps it."""


class Refused(NamedTuple):
    """The filter that left out a trajectory, and its reason."""

    filter: str
    reason: str


def refuse(trajectory: Trajectory, filters: dict[str, Filter]) -> Refused | None:
    """The first filter that leaves it out, or None."""
    for name, judge in filters.items():
        reason = judge(trajectory)
        if reason is not None:
            return Refused(name, reason)
    return None


def low_reward(min_reward: float, *, unjudged: bool = False) -> Filter:
    """No step of it has enough reward; with `unjudged`, steps that nobody judged are enough."""

    def judge(trajectory: Trajectory) -> str | None:
        judged = zip(trajectory.steps, step_rewards(trajectory), strict=True)
        rewards = [reward for step, reward in judged if step.role == "assistant"]
        if unjudged and (None in rewards or not rewards):
            return None
        best = max((r for r in rewards if r is not None), default=None)
        if best is None:
            return "nobody judged it"
        return f"reward {best:g} < {min_reward:g}" if best < min_reward else None

    return judge


def bad_reward(trajectory: Trajectory) -> str | None:
    """Its reward is no number from 0 to 1, as a file may have it."""
    reward = trajectory.reward
    return None if reward is None or 0 <= reward <= 1 else f"reward {reward} is not in [0, 1]"


def no_reward(trajectory: Trajectory) -> str | None:
    """Nobody judged it."""
    return "nobody judged it" if trajectory.reward is None else None


def may_not_train(trajectory: Trajectory) -> str | None:
    """Its owner's key did not allow to train on it."""
    return None if trajectory.may_train else "its owner does not allow it"


def plain_text(trajectory: Trajectory) -> str | None:
    """Nobody says it: it is text, and no answer that an agent could learn from."""
    return "text without turns is for --general" if is_plain(trajectory) else None


def ended(outcomes: Container[Outcome]) -> Filter:
    """It did not end in one of these ways. The end of another system's row is not recorded."""

    def judge(trajectory: Trajectory) -> str | None:
        if trajectory.source == "import" or trajectory.outcome in outcomes:
            return None
        return f"it ended as {trajectory.outcome}"

    return judge


def evaluation_task(*allowed: str) -> Filter:
    """It was played for evaluation: a task of no allowed split must stay unseen."""

    def judge(trajectory: Trajectory) -> str | None:
        split = trajectory.metadata.get("split")
        return None if split in (None, *allowed) else f"its task is of the {split} split"

    return judge


def no_answer(trajectory: Trajectory) -> str | None:
    """Its last turn neither answers nor makes a call that was waited for."""
    last = _last_turn(trajectory)
    if last is None:
        return "the model said nothing"
    if last.call is not None and trajectory.outcome is not Outcome.LIMIT:
        return None
    if last.call is None and (last.answer or not trajectory.tools):
        return None
    return f"it ends with {last.text[-60:]!r}"


def ends_in_error(trajectory: Trajectory) -> str | None:
    """The last observation is a failure, so the answer rests on nothing."""
    observed = [step for step in trajectory.steps if step.tool_call_id or step.role == "tool"]
    if observed and observed[-1].failed:
        return f"the last observation is {observed[-1].text[:80]!r}"
    return None


def repeated_action(trajectory: Trajectory) -> str | None:
    """The same call with the same arguments, three times or more."""
    calls = Counter([(s.call.name, s.call.arguments) for s in trajectory.steps if s.call])
    for (name, arguments), count in calls.most_common(1):
        if count >= _REPEATS:
            return f"{count} times {name}({arguments[:60]})"
    return None


def claimed_change(trajectory: Trajectory) -> str | None:
    """It had tools, called none, and claims to have changed something."""
    last = _last_turn(trajectory)
    if last is None or not trajectory.tools or any(step.call for step in trajectory.steps):
        return None
    claim = _CLAIM.search(last.answer or last.text)
    return f"says {claim.group()!r}, but called no tool" if claim else None


def unrelated_thought(trajectory: Trajectory) -> str | None:
    """Its thoughts share no word with the task or with any observation."""
    thoughts = " ".join([step.thought for step in trajectory.steps if step.thought])
    context = " ".join([step.text for step in trajectory.steps if step.role in _SHOWN]).lower()
    foreign: set[str] = set()
    for word in _words(thoughts):  # mostly one of the first is shared
        if word in context:
            return None
        foreign.add(word)
    if len(foreign) < _FEWEST_WORDS or context.count(" ") < _FEWEST_WORDS:
        return None
    return f"thinks {thoughts[:60]!r}"


def raw_escapes(trajectory: Trajectory) -> str | None:
    """An observation holds a terminal's control sequences."""
    for step in trajectory.steps:
        if "\x1b[" in step.text and step.role != "assistant":
            return "a control sequence in an observation"
    return None


def unless_approved(judge: Filter) -> Filter:
    """Apply `judge` to program-rewarded rows only: a rule does not overrule a person's approval."""
    return lambda trajectory: None if approved_by_person(trajectory) else judge(trajectory)


CONTENT_FILTERS: dict[str, Filter] = {
    "no_answer": no_answer,
    "ends_in_error": ends_in_error,
    "repeated_action": repeated_action,
    "claimed_change": claimed_change,
    "unrelated_thought": unrelated_thought,
    "raw_escapes": raw_escapes,
}
"""Filters without settings, in order of application."""

TEMPLATE_MISMATCH = "template_mismatch"
_REPEATS = 3
_SHOWN = ("user", "tool")
_FEWEST_WORDS = 3
_WORD = re.compile(r"[^\W\d_]{4,}")
_CLAIM = re.compile(
    r"\b(?:I(?:'ve| have)?|(?:has|have) been|(?:was|were|is|are) now|successfully)\s+"
    r"(?:now |just |also |successfully )?"
    r"(?:added|changed|created|deleted|dropped|edited|inserted|installed|moved|removed|renamed"
    r"|replaced|saved|set|updated|written|wrote)\b",
    re.IGNORECASE,
)
_COMMON = frozenset(
    """
about after also answer because been before call could does find first from have into know make more
must need next only question result should some task than that their them then there these they this
tool user using want what when which will with would your
""".split()
)
"""Words that any thought may share with any task."""


def _last_turn(trajectory: Trajectory) -> Step | None:
    turns: Iterator[Step] = (s for s in reversed(trajectory.steps) if s.role == "assistant")
    return next(turns, None)


def _words(text: str) -> Iterator[str]:
    words = (word.group().lower() for word in _WORD.finditer(text))
    return (word for word in words if word not in _COMMON)
