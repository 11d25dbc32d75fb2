"""The shape of a conversation: everything a chat template looks at except the words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, pairwise, product
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from agentlm.prompt.template import Template

Role = Literal["system", "user", "assistant"]

# Private-use characters: no template and no tokenizer treats them specially.
_SENTINEL = re.compile("\ue000(\\d+t?)\ue001")
_STRIPPED = (None, "\n", " ", " \n")
"""What templates strip: all white space, or only some."""


class UnusableTemplateError(Exception):
    """A template, or a conversation under it, can't be written; the message says why."""


class Slot(NamedTuple):
    """One message of a shape: everything about it that a template looks at."""

    role: Role
    think: tuple[str, str] | None = None
    """The opening and closing of the thought before the content, if there is one."""
    lead: str = ""
    trail: str = ""
    """White space at the ends of the content."""


class Gaps(NamedTuple):
    """What a template writes around the contents of a shape."""

    between: list[str]
    """Text before the first message, between messages, after the last one."""
    within: dict[int, str]
    """Text between thought and content, for messages whose thought is written."""


def turns(count: int, *, system: bool = False) -> tuple[Slot, ...]:
    """The shape of `count` turns, beginning with the user's, with or without system text."""
    roles: list[Role] = ["user", "assistant"]
    alternating = tuple(Slot(roles[at % 2]) for at in range(count))
    return (Slot("system"), *alternating) if system else alternating


def gaps_of(template: Template, slots: Sequence[Slot], *, generate: bool) -> Gaps:
    """Render a shape with a sentinel for each content.

    Raises UnusableTemplateError unless each is written once and in order.
    """
    messages = [
        {"role": slot.role, "content": _sentinel(place, slot)} for place, slot in enumerate(slots)
    ]
    first, *rest = _SENTINEL.split(template.render(messages, generate=generate))
    labels, texts = rest[::2], rest[1::2]
    after = dict(zip(labels, texts, strict=True))
    within = {at: after[f"{at}t"] for at in range(len(slots)) if f"{at}t" in after}
    wanted = [[f"{at}t", f"{at}"] if at in within else [f"{at}"] for at in range(len(slots))]
    if labels != list(chain.from_iterable(wanted)):
        raise UnusableTemplateError("it drops, repeats or moves messages")
    return Gaps([first, *(after[str(at)] for at in range(len(slots)))], within)


def _sentinel(place: int, slot: Slot) -> str:
    content = f"{slot.lead}\ue000{place}\ue001{slot.trail}"
    if slot.think is None:
        return content
    opening, closing = slot.think
    return f"{opening}\ue000{place}t\ue001{closing}{content}"


def spaces(
    slots: Sequence[Slot], bare: Sequence[str], padded: Sequence[str]
) -> list[tuple[str, str]]:
    """What the template leaves of the white space at the ends of each content."""
    ends = [("", "") if slot.think else (slot.lead, slot.trail) for slot in slots]
    leads, trails = [lead for lead, _ in ends], [trail for _, trail in ends]
    kept = [
        _kept(trail, lead, gap, padded_gap)
        for trail, lead, gap, padded_gap in zip(
            ["", *trails], [*leads, ""], bare, padded, strict=True
        )
    ]
    return [(lead, trail) for (_, lead), (trail, _) in pairwise(kept)]


def _kept(trail: str, lead: str, gap: str, padded_gap: str) -> tuple[str, str]:
    """What the template keeps of the white space around a gap: all, or what common stripping
    leaves."""
    trails = [trail, *(trail.rstrip(characters) for characters in _STRIPPED)]
    leads = [lead, *(lead.lstrip(characters) for characters in _STRIPPED)]
    for left, right in product(trails, leads):
        if left + gap + right == padded_gap:
            return left, right
    return trail, lead
