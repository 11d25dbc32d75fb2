"""The stages of rows that are learned from by their reward, before they are judged together.

A filter for imitation means that a row is no good example. So it leaves out successes that would be
preferred, and never a failure. Where whole groups are compared it would bias the comparison, and is
not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from agentlm.exchange.files import Malformed
from agentlm.finetune.data.pipeline import (
    Marks,
    Pipeline,
    content_filters,
    recorded_filters,
    remembering_filters,
)
from agentlm.finetune.data.rewarded.groups import ratio_filters, sampled_steps
from agentlm.finetune.data.rewarded.pairs import pair_steps
from agentlm.finetune.data.rewarded.thumbs import by_side, is_good, thumb_steps
from agentlm.finetune.data.rows import RowMaker
from agentlm.finetune.filters import rules as filters
from agentlm.finetune.filters.dedupe import NEAR_DUPLICATE, Cap, task_of
from agentlm.finetune.filters.drops import Drops
from agentlm.finetune.filters.rules import Filter
from agentlm.finetune.settings import FinetuneSettings
from agentlm.trajectory import Trajectory


def rewarded_pipeline(settings: FinetuneSettings, maker: RowMaker) -> Pipeline:
    """For rows of the log and of files alike."""
    recorded = recorded_filters(settings, unjudged=False)
    del recorded["low_reward"]
    judging: dict[str, Filter] = {**recorded, "no_reward": filters.no_reward}
    if settings.method == "grpo":
        judging |= ratio_filters(maker.ages, settings.max_staleness)
    else:
        filters_by_name = content_filters(settings).items()
        judging |= {name: _of_successes(it, settings.min_reward) for name, it in filters_by_name}
    remembering = remembering_filters(settings.model_copy(update={"max_per_task": None}))
    remembering.pop(NEAR_DUPLICATE, None)
    if settings.method == "kto" and settings.max_per_task is not None:
        remembering["task_cap"] = Cap(settings.max_per_task, _task_and_side)
    return Pipeline(judging, settings.scrub, _marks(settings), maker, remembering)


def as_judged(
    rows: Iterable[Trajectory | Malformed], settings: FinetuneSettings, drops: Drops
) -> Iterator[Trajectory | Malformed]:
    """The rows, each as often as it is learned from: kto separates good and bad answers."""
    for row in rows:
        if settings.method != "kto" or isinstance(row, Malformed):
            yield row
            continue
        sides = list(by_side(row, settings.min_reward))
        drops.rows += len(sides) - 1
        yield from sides


def _marks(settings: FinetuneSettings) -> Marks:
    match settings.method:
        case "grpo":
            return sampled_steps
        case "dpo":
            return partial(pair_steps, min_reward=settings.min_reward)
        case _:
            return partial(thumb_steps, min_reward=settings.min_reward)


def _of_successes(judge: Filter, min_reward: float) -> Filter:
    return lambda it: judge(it) if (it.reward or 0.0) >= min_reward else None


def _task_and_side(trajectory: Trajectory) -> str | None:
    task = task_of(trajectory)
    return task and f"{task}, {'up' if is_good(trajectory) else 'down'}"
