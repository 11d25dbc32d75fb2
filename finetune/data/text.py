"""Render text without ids with the model's own renderer: imported and scrubbed rows.

The turns are those that the model would read; its own come back with their loss. Consecutive turns
of one side merge, as templates demand; a merged turn is trained on if all its parts are. Forced
text forms one text with the sampled text around it, and is learned if that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, takewhile

from agentlm.prompt.preamble import describe, preamble_in
from agentlm.prompt.render import Renderer, Turn
from agentlm.trajectory import Origin, Step, Trajectory


def rendered(
    trajectory: Trajectory, trained: Sequence[bool], renderer: Renderer
) -> tuple[Trajectory, list[bool]]:
    """The trajectory with steps that have ids, and which of these are trained on."""
    system, rest = _opening(trajectory, trained)
    turns = [_turn(step) for step, _ in rest]
    described = any(preamble_in(step.text, trajectory.tools) for step in trajectory.steps)
    preamble = "" if described else describe(trajectory.tools, thoughts=renderer.thoughts)
    steps = renderer.transcript(turns, system=system, preamble=preamble)
    own = iter(_own_turns(rest))
    loss = [next(own) if step.role == "assistant" else False for step in steps]
    return trajectory.model_copy(update={"steps": tuple(steps)}), loss


def verbatim(trajectory: Trajectory, renderer: Renderer) -> Trajectory:
    """The trajectory with ids of its text alone: no template around it."""
    steps = (
        step.model_copy(
            update={"token_ids": renderer.plain(step.text), "tokenizer_digest": renderer.digest}
        )
        for step in trajectory.steps
    )
    return trajectory.model_copy(update={"steps": tuple(steps)})


def learnt_in_part(trajectory: Trajectory, trained: Sequence[bool]) -> bool:
    """Whether only some of several consecutive answers are trained on, so that none would be."""
    marked = zip(trajectory.steps, trained, strict=True)
    return any(
        own and len({train for step, train in turn if step.text.strip()}) > 1
        for own, turn in groupby(marked, key=lambda it: it[0].role == "assistant")
    )


def _opening(
    trajectory: Trajectory, trained: Sequence[bool]
) -> tuple[str | None, list[tuple[Step, bool]]]:
    """The leading system text, as serving joins it, and everything after it."""
    marked = list(_joined(zip(trajectory.steps, trained, strict=True)))
    leading = list(takewhile(lambda it: it[0].role == "system", marked))
    system = "\n\n".join(step.text for step, _ in leading)
    return system if leading else None, marked[len(leading) :]


def _joined(marked: Iterable[tuple[Step, bool]]) -> Iterator[tuple[Step, bool]]:
    """Join forced text with the sampled text before or after it into one step."""
    last: tuple[Step, bool] | None = None
    for step, train in marked:
        if last and Origin.FORCED in (last[0].origin, step.origin) and _served(last[0], step):
            sampled, learned = last if step.origin is Origin.FORCED else (step, train)
            last = sampled.model_copy(update={"text": last[0].text + step.text}), learned
            continue
        if last:
            yield last
        last = step, train
    if last:
        yield last


def _served(*steps: Step) -> bool:
    return all(step.origin in (Origin.SAMPLED, Origin.FORCED) for step in steps)


def _turn(step: Step) -> Turn:
    return Turn("assistant" if step.role == "assistant" else "user", step.text, step.tool_call_id)


def _own_turns(marked: Sequence[tuple[Step, bool]]) -> list[bool]:
    """For each turn of the model, whether all of its text is trained on."""
    by_side = groupby(marked, key=lambda it: it[0].role == "assistant")
    return [all(train for _, train in turn) for own, turn in by_side if own]
