"""dpo: a success and a failure at one task by one model.

What both have in common at the beginning decides nothing, and is not trained on. Each try is in at
most one pair. Files may have pairs of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from agentlm.exchange.preferences import PAIR
from agentlm.finetune.data.dataset import Rows
from agentlm.finetune.data.pipeline import Kept
from agentlm.finetune.data.rewarded.candidates import Candidate, Chosen, Verdicts
from agentlm.finetune.filters.rules import Refused
from agentlm.learnable import own_steps, well_formed
from agentlm.trajectory import Trajectory

_NO_LOSER = Refused("no_loser", "no try at its task failed that could stand beside it")
_NO_WINNER = Refused("no_winner", "no try at its task succeeded that could stand beside it")
_UNPAIRED = Refused("unpaired", "its task has more tries of its kind than of the other, or enough")
_NO_DIFFERENCE = Refused("no_difference", "one of the pair ends where they part")


def pair_steps(trajectory: Trajectory, min_reward: float) -> list[bool]:
    """For each step, whether the model sampled it; in a success only well-formed steps."""
    good = (trajectory.reward or 0.0) >= min_reward
    following = [*trajectory.steps[1:], None]
    return [
        own and (not good or well_formed(step, after))
        for step, after, own in zip(trajectory.steps, following, own_steps(trajectory), strict=True)
    ]


def candidate(kept: Kept) -> Candidate:
    """Comparable rows have the same task, prompt and model, or are a file's own pair."""
    trajectory = kept.trajectory
    same: tuple[object, ...] = (
        trajectory.environment,
        trajectory.task_id,
        trajectory.model,
        tuple(tool.model_dump_json() for tool in trajectory.tools),
        *_prompt(trajectory),
    )
    if (pair := trajectory.metadata.get(PAIR)) is not None:
        same = (PAIR, pair)
    return Candidate(hash(same), trajectory.reward or 0.0)


def _prompt(trajectory: Trajectory) -> Iterator[tuple[str, str]]:
    """The prompt, as text, because some rows are rendered anew."""
    for step, own in zip(trajectory.steps, own_steps(trajectory), strict=True):
        if own:
            return
        yield step.role, step.text


def judge(
    candidates: Sequence[Candidate], rows: Rows, min_reward: float, most: int | None
) -> Verdicts:
    """Pairs, at most `most` for each task."""
    groups: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for index, one in enumerate(candidates):
        groups[one.group][one.reward < min_reward].append(index)
    verdicts = Verdicts([], {})
    for winners, losers in groups.values():
        alone = _UNPAIRED if winners and losers else _NO_LOSER if winners else _NO_WINNER
        pairs = list(zip(winners, losers, strict=False))[:most]
        paired = {index for pair in pairs for index in pair}
        rest = [index for index in (*winners, *losers) if index not in paired]
        verdicts.left_out.update(dict.fromkeys(rest, alone))
        for pair in pairs:
            parted = _parted(rows, *pair)
            if all(rows.row(index)[1][parted:].any() for index in pair):
                verdicts.units.append(list(_chosen(pair, len(verdicts.units), parted)))
            else:
                verdicts.left_out.update(dict.fromkeys(pair, _NO_DIFFERENCE))
    return verdicts


def _chosen(pair: tuple[int, int], number: int, parted: int) -> Iterator[Chosen]:
    for index, value in zip(pair, (1.0, -1.0), strict=True):
        yield Chosen(index, value, number, trained_from=parted)


def _parted(rows: Rows, one: int, other: int) -> int:
    """The first index at which two rows differ."""
    left, right = rows.row(one)[0], rows.row(other)[0]
    length = min(len(left), len(right))
    different = np.flatnonzero(left[:length] != right[:length])
    return int(different[0]) if len(different) else length
