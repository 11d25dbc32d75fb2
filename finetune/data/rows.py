"""From a trajectory to a token row: its ids, and which of them the model learns.

Recorded ids are exactly those of the engine; nothing is tokenised again. **Loss** applies to what
the model sampled, where a reward vouches for it: feedback on one answer of a conversation vouches
for that answer only. The copied beginning of a fork is trained on in its parent, so no sampled
token counts twice. Imported text is trained on by its marks, or else on every answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentlm.errors import RequestError
from agentlm.exchange.files import place_of
from agentlm.exchange.text import is_plain
from agentlm.finetune.data.dataset import Judged, Row, Values
from agentlm.finetune.data.text import learnt_in_part, rendered, verbatim
from agentlm.finetune.filters.rewards import step_rewards
from agentlm.finetune.filters.rules import TEMPLATE_MISMATCH, Refused
from agentlm.finetune.settings import Method
from agentlm.learnable import learnable_steps
from agentlm.prompt.render import Renderer
from agentlm.trajectory import Trajectory, template_settings


@dataclass(frozen=True)
class RowMaker:
    renderer: Renderer
    max_length: int
    line: frozenset[str] = frozenset()
    """The model and its ancestors. Their rows are learned in the form in which they were served."""
    method: Method = "sft"
    """Methods that learn from rewards need whole rows, and the probabilities of their ids."""
    ages: Mapping[str, int] = field(default_factory=dict)
    """For each version of weights in the model's ancestry, the number of trainings since."""

    def row(self, trajectory: Trajectory, trained: Sequence[bool]) -> Row | Refused:
        """The recorded ids if they fit this model's tokenizer and template, else ids of its
        text."""
        if is_plain(trajectory):
            return self._made(verbatim(trajectory, self.renderer), trained)
        if _digests(trajectory) <= {self.renderer.digest}:
            return self._made(trajectory, trained)
        if self.method == "grpo":
            return Refused(
                TEMPLATE_MISMATCH,
                "its ids are of another tokenizer or template, or a secret in them was scrubbed",
            )
        if trajectory.model in self.line and self.differs(trajectory):
            return Refused(
                TEMPLATE_MISMATCH,
                f"{trajectory.model} was served with another tokenizer or template than it has now",
            )
        # In the form in which it was served, if this model's template has such a setting.
        readable = self.renderer.format.settable
        served = template_settings(trajectory.steps).items()
        settings = {name: value for name, value in served if name in readable}
        try:
            by = self.renderer.with_settings(settings)
        except RequestError as error:
            return Refused(TEMPLATE_MISMATCH, f"it was served with settings of another: {error}")
        if trajectory.source == "import" and learnt_in_part(trajectory, trained):
            return Refused(
                "turn_in_part",
                "answers that follow each other are one turn, and not all of it is to be learnt",
            )
        return self._made(*rendered(trajectory, trained, by))

    def _made(self, trajectory: Trajectory, trained: Sequence[bool]) -> Row | Refused:
        row = make_row(trajectory, trained, self.max_length, cut=self.method == "sft")
        if self.method == "sft" or isinstance(row, Refused):
            return row
        recorded = log_probabilities(trajectory)[: len(row.ids)]
        if np.isnan(recorded[np.frombuffer(row.loss, np.bool_)]).any():
            recorded = np.full_like(recorded, np.nan)  # all that count are known, or none is
        return row._replace(judged=Judged(recorded))

    def differs(self, trajectory: Trajectory) -> bool:
        """Whether it was recorded with another tokenizer or template than this model's."""
        return not _digests(trajectory) <= {None, self.renderer.digest}


def _digests(trajectory: Trajectory) -> set[str | None]:
    return {step.tokenizer_digest for step in trajectory.steps}


def make_row(
    trajectory: Trajectory, trained: Sequence[bool], max_length: int, *, cut: bool = True
) -> Row | Refused:
    """Ids and loss marks, up to the last trained token. Beyond `max_length` a row is cut, or
    refused if it has a reward, which is about how it ended."""
    ids: list[int] = []
    loss = bytearray()
    for step, train in zip(trajectory.steps, trained, strict=True):
        if step.token_ids:
            ids += step.token_ids
            loss += bytes([train]) * len(step.token_ids)
    last = loss.rfind(1) + 1
    end = min(max_length, last)
    if not end:
        return Refused("nothing_to_train", _NOTHING[trajectory.source == "import"])
    if 1 not in loss[1:end]:
        return Refused("too_long", f"its first {max_length} tokens hold nothing to train on")
    if end < last and not cut:
        return Refused("too_long", f"it has {last} tokens, and at most {max_length} are trained on")
    imported = trajectory.source == "import"
    name = place_of(trajectory) if imported else trajectory.id
    return Row(name, ids[:end], bytes(loss[:end]))


def log_probabilities(trajectory: Trajectory) -> Values:
    """For each id the recorded value; NaN if there is none, or if it was sampled under a
    constraint.

    A constraint excludes tokens that the model would choose, which makes the others likelier.
    """
    parts = []
    for step in trajectory.steps:
        ids, known = step.token_ids or (), step.logprobs
        if known is None or len(known) != len(ids) or step.constraint_digest is not None:
            known = (math.nan,) * len(ids)
        parts.append(np.array(known, np.float32))
    values = np.concatenate(parts)
    values[~np.isfinite(values)] = np.nan
    return values


_NOTHING = ("no well-formed sampled step has the reward", "no turn in it is to be learnt")
"""Reasons for recorded rows, and for rows of other systems."""


def loss_steps(trajectory: Trajectory, min_reward: float, *, unjudged: bool = False) -> list[bool]:
    """For each step, whether the model learns it; with `unjudged` also steps that nobody judged."""
    steps = zip(learnable_steps(trajectory), step_rewards(trajectory), strict=True)
    return [
        learnable and (unjudged if reward is None else reward >= min_reward)
        for learnable, reward in steps
    ]
