"""What a chat template writes between contents, found by rendering sentinels in their place.

What a template does with a conversation depends on its **shape**: whether there is system text, how
many turns there are, which answers hold a thought, whether an answer is to follow. So the template
itself is rendered once for each shape, with a sentinel for every content, and the text between the
sentinels is remembered. After that a conversation costs only its own text.

The template sees two properties of a content, because templates look at them: white space at its
ends (many strip it), and a thought (`<think>…</think>`) that opens an answer (some drop past ones,
some write an empty one). If a template looks at neither, contents are not taken apart.

`probe` verifies that this is enough: it compares a dozen conversations with what the template
itself writes, and refuses the template at the first difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from agentlm.errors import OperatorError
from agentlm.prompt.shapes import (
    Gaps,
    Role,
    Slot,
    UnusableTemplateError,
    gaps_of,
    spaces,
    turns,
)

if TYPE_CHECKING:
    from agentlm.prompt.template import Template

PlainMessage = tuple[Role, str]

_OPENED = re.compile(r"\s*<think>\n*")
_REMEMBERED_SHAPES = 512
_REMEMBERED_SIZE = 1024
"""Limit for a remembered shape: its messages plus its characters of white space."""


class Part(NamedTuple):
    """One message as the template writes it."""

    role: Role
    texts: tuple[str, ...]
    """Control text and content in alternation, starting and ending with control text."""


class _Frame(NamedTuple):
    """What the template writes around one message."""

    controls: tuple[str, ...]
    """Three if the template writes the thought, else two."""
    lead: str
    trail: str
    """What the template leaves of the content's white space."""


class _Taken(NamedTuple):
    """A message taken apart."""

    slot: Slot
    thought: str
    body: str


class ChatFormat:
    """How a template writes conversations. ChatML, for example, with `·` for content:

        system      <|im_start|>system\\n·<|im_end|>
        user        \\n<|im_start|>user\\n·<|im_end|>\\n<|im_start|>assistant\\n
        assistant   ·<|im_end|>

    The header of an answer belongs to the turn before it: what the model generates begins after it.
    """

    def __init__(self, template: Template, source: str, special: Sequence[str]) -> None:
        """Raises UnusableTemplateError unless each message is written once and in order."""
        self._template = template
        self._special = re.compile("|".join(map(re.escape, special)) or "(?!)")
        self._reads_thoughts = "</think>" in source
        self._strips = "strip" in source or "trim" in source
        self._remembered = lru_cache(_REMEMBERED_SHAPES)(self._frames)
        self._headers = {False: self._header(turns(1))}
        """What follows the last user turn, without (False) and with (True) system text."""
        self.end_of_turn, self._close = self._find_close()
        self.system_role = self._takes_system()
        """Whether the template writes system text. If not, it starts the first user turn."""
        self.default_system = self._find_default() if self.system_role else None
        """The template's own system text, used when none is given."""
        self.answer_lead = self._frames(turns(3), True)[1].controls[0]
        """What opens an answer after its header. The model generates it."""
        self.append_only = not self._drops_thoughts() and all(map(self._appends, self._headers))
        """Whether earlier text stays unchanged when turns are added."""

    @classmethod
    def probe(
        cls,
        template: str,
        special: Sequence[str],
        bos: str,
        eos: str,
        settings: Mapping[str, object] | None = None,
    ) -> ChatFormat:
        """Find out what a template writes. Raises OperatorError if it can't be reproduced
        exactly."""
        # A dependency of serving only: importing the renderer must not need it.
        from agentlm.prompt.agreement import check_agreement
        from agentlm.prompt.template import Template

        try:
            compiled = Template(template, bos, eos, settings or {})
            chat_format = cls(compiled, template, special)
            check_agreement(chat_format, compiled)
        except UnusableTemplateError as error:
            raise OperatorError(f"the chat template can't be used: {error}") from error
        return chat_format

    @property
    def settable(self) -> frozenset[str]:
        """Names that the template reads, which a request may therefore set."""
        return self._template.settable

    def strings(self) -> list[str]:
        """All control strings except those that the model generates."""
        shapes = [turns(3, system=system) for system in self._headers]
        framed = [zip(slots, self._frames(slots, True), strict=True) for slots in shapes]
        others = (frame for slot, frame in chain(*framed) if slot.role != "assistant")
        return [text for frame in others for text in frame.controls]

    def parts(self, messages: Sequence[PlainMessage], *, generate: bool) -> list[Part]:
        """A conversation as the template writes it. With `generate`, an answer is to follow.

        Raises UnusableTemplateError if the template refuses the conversation.
        """
        taken = [self._take(role, text) for role, text in messages]
        slots = tuple(message.slot for message in taken)
        size = sum(1 + len(slot.lead) + len(slot.trail) for slot in slots)
        frames = self._remembered if size <= _REMEMBERED_SIZE else self._frames
        filled = zip(taken, frames(slots, generate), strict=True)
        return [Part(message.slot.role, _filled(message, frame)) for message, frame in filled]

    def _take(self, role: Role, text: str) -> _Taken:
        """Take a message apart as far as the template looks into it."""
        think, thought = None, ""
        if role == "assistant" and self._reads_thoughts and "</think>" in text:
            think, thought, text = _thought_of(text)
        if think is None and not self._strips:
            return _Taken(Slot(role), "", text)
        body = text.strip()
        lead = text[: text.index(body)]
        return _Taken(Slot(role, think, lead, text[len(lead) + len(body) :]), thought, body)

    # -- shapes --------------------------------------------------------------------------------

    def _gaps(self, slots: Sequence[Slot], *, generate: bool) -> Gaps:
        return gaps_of(self._template, slots, generate=generate)

    def _frames(self, slots: tuple[Slot, ...], generate: bool) -> list[_Frame]:
        """What the template writes around each message of a shape."""
        bare = tuple(slot if slot.think else Slot(slot.role) for slot in slots)
        around = self._gaps(bare, generate=generate)
        kept = [("", "")] * len(slots)
        if bare != slots:
            padded = self._gaps(slots, generate=generate)
            kept = spaces(slots, around.between, padded.between)
        header = self._headers.get(slots[0].role == "system", "")
        first, *inner, last = around.between
        pairs = zip(slots[1:], inner, strict=True)
        borders = [self._divide(slot.role, gap, header) for slot, gap in pairs]
        opens = [first, *(opened for _, opened in borders)]
        closes = [*(closed for closed, _ in borders), self._ending(last, slots[-1].role, generate)]
        within = [[around.within[at]] if at in around.within else [] for at in range(len(slots))]
        return [
            _Frame((opened, *thought_gap, closed), *space)
            for opened, thought_gap, closed, space in zip(opens, within, closes, kept, strict=True)
        ]

    def _divide(self, right: Role, gap: str, header: str) -> tuple[str, str]:
        """Divide a gap between the message before it and the one after it."""
        if right == "assistant":
            return (header, gap.removeprefix(header)) if gap.startswith(header) else (gap, "")
        match = self._special.search(gap)
        return (gap[: match.end()], gap[match.end() :]) if match else (gap, "")

    def _ending(self, gap: str, role: Role, generate: bool) -> str:
        """What follows the last message."""
        if generate or role != "assistant":
            return gap
        match = self._special.search(gap)
        return gap[: match.end()] if match else self._close

    # -- what is found out once ----------------------------------------------------------------

    def _header(self, slots: Sequence[Slot]) -> str:
        return self._gaps(slots, generate=True).between[-1]

    def _find_close(self) -> tuple[str, str]:
        """The end-of-turn of an answer, and everything that closes an answer."""
        gap = self._gaps(turns(3), generate=True).between[2]
        match = self._special.search(gap)
        if match is None:
            raise UnusableTemplateError(
                "it ends the assistant's turn with no special token, so the end of an answer can't "
                f"be seen; it writes {gap!r}"
            )
        return match.group(), gap[: match.end()]

    def _takes_system(self) -> bool:
        """Whether system text stands once, before the first turn, however long the conversation
        is."""
        try:
            for count in (2, 3, 4):
                self._gaps(turns(count, system=True), generate=count % 2 == 1)
            self._headers[True] = self._header(turns(1, system=True))
        except UnusableTemplateError:
            return False
        return True

    def _find_default(self) -> str | None:
        opened, between, _ = self._gaps(turns(1, system=True), generate=True).between
        start = self._gaps(turns(1), generate=True).between[0]
        longer = len(start) > len(opened + between)
        if longer and start.startswith(opened) and start.endswith(between):
            return start[len(opened) : -len(between) or None]
        return None

    def _drops_thoughts(self) -> bool:
        thinking = Slot("assistant", think=("<think>\n", "\n</think>"), lead="\n\n")
        slots = (Slot("user"), thinking, Slot("user"))
        return self._reads_thoughts and 1 not in self._gaps(slots, generate=True).within

    def _appends(self, system: bool) -> bool:
        """Whether longer conversations begin like shorter ones, and continue in one way."""
        frames = self._frames(turns(5, system=system), True)
        for count in (1, 3):
            begun = self._frames(turns(count, system=system), True)
            if begun != frames[: len(begun)]:
                return False
        # User, answer, user, answer, user: the two answers must look alike, and so must what
        # follows them.
        return frames[-4] == frames[-2] and frames[-3] == frames[-1]


def _filled(message: _Taken, frame: _Frame) -> tuple[str, ...]:
    content = frame.lead + message.body + frame.trail
    if len(frame.controls) == 2:
        return frame.controls[0], content, frame.controls[1]
    opened, within, closed = frame.controls
    return opened, message.thought, within, content, closed


def _thought_of(text: str) -> tuple[tuple[str, str], str, str]:
    """The opening and closing of the last marked thought, the thought, and the rest."""
    before, mark, rest = text.rpartition("</think>")
    opened = _OPENED.match(before)
    opening = opened.group() if opened else ""
    thought = before[len(opening) :].rstrip("\n")
    return (opening, before[len(opening) + len(thought) :] + mark), thought, rest
