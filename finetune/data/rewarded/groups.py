"""grpo: tries at one task, each judged by how much better it was than the others' average.

Only exact records can be compared with what the model would generate now: ids, and
log-probabilities at temperature 1 of all tokens. Runs that were sampled in another way, or by
weights that the base does not come from, are left out and counted. Malformed turns and refused
calls are learned from like all others: they are the reason for a bad reward.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from agentlm.finetune.data.pipeline import Kept
from agentlm.finetune.data.rewarded.candidates import (
    Candidate,
    Chosen,
    Verdicts,
    sampled_steps_of,
)
from agentlm.finetune.filters.rules import Filter, Refused
from agentlm.trajectory import Origin, Sampling, Step, Trajectory

NOT_RECORDED = "not_recorded"
_UNCHANGED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "min_tokens",
)
"""Sampling settings that change which tokens are drawn, but not the recorded probabilities."""
_PLAIN = Sampling()
_LONELY = Refused("lonely", "it is the only try at its task with this prompt, by these weights")
_EQUAL = Refused("equal_rewards", "all tries at its task have the same reward")
_AVERAGE = Refused("average", "its reward is the mean of the tries at its task")


def sampled_steps(trajectory: Trajectory) -> list[bool]:
    """For each step, whether the model sampled it: well or badly, in this try or in its parent."""
    return [step.origin is Origin.SAMPLED for step in trajectory.steps]


def ratio_filters(ages: Mapping[str, int], max_staleness: int) -> dict[str, Filter]:
    """Leave out runs whose probabilities can't be compared. `ages` has the known weights."""
    return {
        NOT_RECORDED: not_recorded,
        "not_as_sampled": not_as_sampled,
        "stale": lambda trajectory: _stale(trajectory, ages, max_staleness),
    }


def not_recorded(trajectory: Trajectory) -> str | None:
    """It has no ids or log-probabilities of its own: it was imported, or comes from an upstream."""
    steps = _sampled(trajectory)
    if not steps:
        return "nothing in it was sampled here"
    if any(step.token_ids is None for step in trajectory.steps):
        return "its ids were not recorded"
    return None if all(map(_has_log_probabilities, steps)) else "it has no log-probabilities"


def not_as_sampled(trajectory: Trajectory) -> str | None:
    """Its tokens were drawn in another way than the record assumes."""
    for step in _sampled(trajectory):
        if step.constraint_digest is not None:
            return "decoding was constrained"
        if step.sampling is None:
            return "how it was sampled was not recorded"
        for name in _UNCHANGED:
            value, plain = getattr(step.sampling, name), getattr(_PLAIN, name)
            if value != plain:
                return f"{name} was {value}; what is recorded holds for {plain}"
    return None


def _stale(trajectory: Trajectory, ages: Mapping[str, int], max_staleness: int) -> str | None:
    versions = {step.weights_version for step in _sampled(trajectory)}
    if len(versions) != 1:
        return "several versions of the weights said it"
    version = versions.pop()
    age = ages.get(version or "")
    if age is None:
        return f"weights {version} said it, which the base does not come from"
    if age > max_staleness:
        return f"{age} trainings lie between the weights that said it and the base"
    return None


def _sampled(trajectory: Trajectory) -> list[Step]:
    return [step for step in trajectory.steps if step.origin is Origin.SAMPLED]


def _has_log_probabilities(step: Step) -> bool:
    logprobs, ids = step.logprobs or (), step.token_ids or ()
    return len(logprobs) == len(ids) and all(map(math.isfinite, logprobs))


def candidate(kept: Kept, ages: Mapping[str, int]) -> Candidate:
    """Comparable rows have the same task, prompt, tools, sampling and weights."""
    trajectory = kept.trajectory
    first = _sampled(trajectory)[0]
    sampling = first.sampling and first.sampling.model_dump(exclude={"seed"})
    same = (
        trajectory.environment,
        trajectory.task_id,
        tuple(kept.row.ids[: kept.row.loss.index(1)]),
        tuple(tool.model_dump_json() for tool in trajectory.tools),
        repr(sampling),
        first.weights_version,
    )
    age = ages.get(first.weights_version or "", 0)
    return Candidate(hash(same), trajectory.reward or 0.0, tuple(sampled_steps_of(kept)), age)


def judge(candidates: Sequence[Candidate]) -> Verdicts:
    """Each try's advantage over its group.

    A beginning that several tries share because they forked is learned once, with the mean of their
    advantages: each try counts its part of it.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for index, one in enumerate(candidates):
        groups[one.group].append(index)
    verdicts = Verdicts([], {})
    for members in groups.values():
        rewards = {index: candidates[index].reward for index in members}
        if len(members) < 2 or len(set(rewards.values())) < 2:
            verdicts.left_out.update(dict.fromkeys(members, _EQUAL if members[1:] else _LONELY))
            continue
        mean = fmean(rewards.values())
        tries = Counter(step.key for index in members for step in candidates[index].steps)
        chosen = [
            Chosen(
                index,
                reward - mean,
                shares=tuple((step, 1 / tries[step.key]) for step in candidates[index].steps),
            )
            for index, reward in rewards.items()
            if reward != mean
        ]
        average = {index: _AVERAGE for index, reward in rewards.items() if reward == mean}
        verdicts.left_out.update(average)
        verdicts.units.append(chosen)
    return verdicts
