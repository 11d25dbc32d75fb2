"""Verify on conversations that a chat template is understood correctly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

from agentlm.prompt.chat_format import ChatFormat, PlainMessage
from agentlm.prompt.shapes import UnusableTemplateError
from agentlm.prompt.template import Template

_ASKED = ("Hi", " How\nmany? \n", "{{ 1 }} & <b>é</b>")
_SAID = ("Hello!", "\n Thought: none\nFinal Answer: 12 ", "Observation: []")
_LONG = "word " * 400 + "end"
_MANY = 25
"""A number of turns. Some templates cut long conversations, or write the last turns only."""
_THOUGHT = ("<think>\nHm.\n\nWell.\n</think>\n\nYes.", "So.</think>No.", "<think></think> 1")


def check_agreement(written: ChatFormat, template: Template) -> None:
    """Write some dozen conversations both ways.

    Raises UnusableTemplateError at the first difference.
    """
    for messages in _conversations(system=written.system_role):
        generate = messages[-1][0] == "user"
        conversation = [{"role": role, "content": content} for role, content in messages]
        theirs = template.render(conversation, generate=generate)
        parts = written.parts(messages, generate=generate)
        # An answer is closed by its end-of-turn alone: some templates write more, or nothing.
        close = 0 if generate else len(parts[-1].texts[-1])
        ours = "".join("".join(part.texts) for part in parts)
        ours = ours[: len(ours) - close]
        if ours != (theirs if generate else theirs[: len(ours)]):
            raise UnusableTemplateError(_difference(messages, theirs, ours))


def _conversations(*, system: bool) -> Iterator[list[PlainMessage]]:
    openings: list[list[PlainMessage]] = [[], [("system", " Be brief.\n")]] if system else [[]]
    for opening in openings:
        for count in range(1, 7):
            yield [*opening, *islice(_alternating(_SAID), count)]
        yield [*opening, ("user", _LONG)]
        yield [*opening, *islice(_alternating(_SAID), _MANY)]
        for answer in _THOUGHT:
            for count in range(2, 5):
                yield [*opening, *islice(_alternating((answer, *_SAID)), count)]


def _alternating(answers: Sequence[str]) -> Iterator[PlainMessage]:
    for question, answer in zip(cycle(_ASKED), cycle(answers), strict=False):
        yield "user", question
        yield "assistant", answer


def _difference(messages: Sequence[PlainMessage], theirs: str, ours: str) -> str:
    pairs = enumerate(zip(theirs, ours, strict=False))
    at = next((place for place, (one, other) in pairs if one != other), min(len(theirs), len(ours)))
    around = slice(max(0, at - 20), at + 40)
    roles = ", ".join(role for role, _ in messages)
    return (
        f"what it writes depends on the words of a message: for {roles} it is {theirs[around]!r}, "
        f"not {ours[around]!r}"
    )
