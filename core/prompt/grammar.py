"""How a model writes thoughts, calls and answers, and how they are read back.

The canonical form is ReAct's, one call a turn::

    Thought: the user wants the number of files, so I list them
    Action: bash
    Action Input: {"command": "ls | wc -l"}

and, when nothing more is to be done::

    Thought: the command printed 42
    Final Answer: There are 42 files.

Observations come back as a user turn, as in AgentInstruct. Text from the world stands between marks
that it can't write itself, so that no page, file, row or remote tool can pass for the user::

    Observation: <data>
    42
    </data>

Without tools there is no form: the whole turn is the answer, and the same parser reads it, started
in its last state.

One parser reads streams and whole texts. It holds back only text that could still become a marker,
a stop string or trailing space, so a text split at any character gives the same joined fragments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agentlm.messages import Message
from agentlm.prompt.observation import OBSERVATION

FINAL_ANSWER = "Final Answer:"

FragmentKind = Literal["thought", "call", "arguments", "answer", "refusal"]
"""Only an upstream separates a refusal from an answer."""


class Fragment(NamedTuple):
    """A piece of the model's output. `call` is a tool's whole name; the other kinds are parts."""

    kind: FragmentKind
    text: str
    call_id: str = ""
    """On a `call`: the id that it is recorded under."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A turn that was read. At most one of `name` and `answer` is set; if neither, see `error`."""

    thought: str | None = None
    name: str | None = None
    arguments: str | None = None
    """Verbatim. It is JSON unless `error` says otherwise."""
    answer: str | None = None
    error: str | None = None


def call_lead(name: str) -> str:
    """The beginning of a call, up to its arguments."""
    return f"Action: {name}\nAction Input: "


def write(message: Message) -> str:
    """An assistant message of a client's history, in the form in which our model would write it."""
    if not message.tool_calls:
        return message.content
    calls = [f"{call_lead(call.name)}{call.arguments}" for call in message.tool_calls]
    thought = [f"Thought: {message.content}"] if message.content else []
    return "\n".join([*thought, *calls])


def write_answer(answer: str, thought: str | None = None) -> str:
    """A final answer in the canonical form."""
    lead = f"Thought: {thought}\n" if thought else ""
    return f"{lead}{FINAL_ANSWER} {answer}"


# -- reading -----------------------------------------------------------------------------------

_Section = Literal["thought", "name", "arguments", "answer"]

_AFTER: dict[_Section, dict[str, _Section | None]] = {
    "thought": {
        "Thought:": "thought",
        "Action:": "name",
        FINAL_ANSWER: "answer",
        OBSERVATION: None,
    },
    "name": {"Action Input:": "arguments", OBSERVATION: None},
    "arguments": {OBSERVATION: None},
    "answer": {},
}
"""The labels that end a section, each at the start of a line, and the section that each begins.
None: the model has begun to invent an observation."""

_LABEL = {
    section: re.compile(r"\n[ \t]*(" + "|".join(map(re.escape, labels)) + ")")
    for section, labels in _AFTER.items()
    if labels
}
_SOMETHING = re.compile(r"\S")


class Parser:
    """Reads one turn, in pieces or whole.

    `start="answer"` reads everything as the answer: for turns without tools, and for text after a
    forced `Final Answer:`. `stop` are strings that end the answer; with `keep_stop` they are part
    of it. `verbatim` keeps the white space around it.
    """

    def __init__(
        self,
        start: Literal["thought", "answer"] = "thought",
        stop: Sequence[str] = (),
        *,
        keep_stop: bool = False,
        verbatim: bool = False,
    ) -> None:
        self._verbatim = verbatim
        self._keep_stop = keep_stop
        self.cut: int | None = None
        """Set once something other than the model ends the turn (a stop string, an invented
        observation): the offset in the turn's text where it begins. Later text is ignored."""
        self.call_offset: int | None = None
        """Offset in the turn's text where its call begins; None until then."""
        self.answer_offset: int | None = None
        """Offset in the turn's text where its answer begins; None until then."""
        self.answer_end = 0
        """Offset in the turn's text up to which the answer has been yielded."""
        self._section: _Section = start
        # A label counts at the start of a line, and so at the start of a turn.
        self._buffer = "\n" if start == "thought" else ""
        self._consumed = -len(self._buffer)
        self._stop = re.compile("|".join(map(re.escape, stop))) if stop else None
        self._stop_strings = tuple(stop)
        self._sections: dict[_Section, list[str]] = {}

    def feed(self, text: str) -> list[Fragment]:
        """Read more text. Returns the fragments that are certain now; none once `cut` is set."""
        if self.cut is not None:
            return []
        self._buffer += text
        return list(self._read(final=False))

    def finish(self) -> tuple[list[Fragment], Parsed]:
        """End the turn. Returns the fragments held back, and the whole turn as read."""
        fragments = list(self._read(final=True)) if self.cut is None else []
        return fragments, self._parsed()

    def _read(self, *, final: bool) -> Iterator[Fragment]:
        while (match := self._section_end()) is not None:
            kept = self._section == "answer" and self._keep_stop
            end = match.end() if kept else match.start()
            yield from self._say(self._trimmed(self._buffer[:end]), whole=True)
            following = _AFTER[self._section].get(match[0].strip())
            if following is None:
                self.cut = max(0, self._consumed + match.start())
                self._buffer = ""
                return
            if following == "name":
                self.call_offset = max(0, self._consumed + match.start())
            self._drop(match.end())
            self._section = following
        settled = len(self._trimmed(self._buffer)) if final else self._settled()
        yield from self._say(self._buffer[:settled], whole=final)
        self._drop(settled)

    def _section_end(self) -> re.Match[str] | None:
        """The first label or stop string in the buffer that ends the section."""
        if self._section == "answer":
            return self._stop.search(self._buffer) if self._stop else None
        labels = _LABEL[self._section].finditer(self._buffer)
        return next((it for it in labels if it[1] != "Thought:" or not self._has_thought(it)), None)

    def _has_thought(self, label: re.Match[str]) -> bool:
        """Whether a thought began before this label; then the label is part of the thought."""
        begin = _SOMETHING.search(self._buffer, 0, label.start())
        return begin is not None or "thought" in self._sections

    def _say(self, text: str, *, whole: bool) -> Iterator[Fragment]:
        """Keep and yield a part of the section. A tool's name is yielded only when it is
        complete."""
        section = self._section
        first = section not in self._sections
        fragment_text = text.lstrip() if first and not self._verbatim else text
        if not fragment_text or (section == "name" and not whole):
            return
        if section == "arguments" and "name" not in self._sections:
            return  # a call without a tool's name is none
        if section == "answer" and first:
            self.answer_offset = self._consumed + len(text) - len(fragment_text)
        if section == "answer":
            self.answer_end = self._consumed + len(text)
        self._sections.setdefault(section, []).append(fragment_text)
        yield Fragment("call" if section == "name" else section, fragment_text)

    def _trimmed(self, text: str) -> str:
        return text if self._verbatim else text.rstrip()

    def _drop(self, length: int) -> None:
        self._consumed += length
        self._buffer = self._buffer[length:]

    def _settled(self) -> int:
        """How much of the buffer can no longer become a label, a stop string or trailing space."""
        if self._section == "name":
            return 0
        if self._section == "answer":
            return len(self._trimmed(self._buffer[: len(self._buffer) - self._stop_prefix()]))
        line = self._buffer.rfind("\n")
        begun = self._buffer[line + 1 :].lstrip(" \t")
        if line >= 0 and any(label.startswith(begun) for label in _AFTER[self._section]):
            return len(self._buffer[:line].rstrip())
        return len(self._buffer.rstrip())

    def _stop_prefix(self) -> int:
        """Length of the longest suffix of the buffer that begins a stop string."""
        longest = max(map(len, self._stop_strings), default=1) - 1
        for length in range(min(longest, len(self._buffer)), 0, -1):
            if any(stop.startswith(self._buffer[-length:]) for stop in self._stop_strings):
                return length
        return 0

    def _parsed(self) -> Parsed:
        sections = {section: "".join(parts) for section, parts in self._sections.items()}
        thought, name = sections.get("thought"), sections.get("name")
        if self._section == "answer":
            return Parsed(thought=thought, answer=sections.get("answer", ""))
        if name is None:
            return Parsed(thought=thought, error="neither an Action nor a Final Answer")
        arguments, complaint = read_arguments(sections.get("arguments", ""))
        return Parsed(thought=thought, name=name, arguments=arguments, error=complaint)


def parse(text: str) -> Parsed:
    parser = Parser()
    parser.feed(text)
    return parser.finish()[1]


def read_arguments(text: str) -> tuple[str, str | None]:
    """A call's arguments as JSON, and the error in them, if any.

    They stay verbatim if they are JSON. When decoding limits a string's length, control characters
    can come through unescaped (xgrammar 0.2.8); they are escaped here.
    """
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        return text, f"the Action Input is not JSON: {error}"
    if not isinstance(value, dict):
        return text, f"the Action Input must be a JSON object, got {type(value).__name__}"
    return (text if _is_strict(text) else json.dumps(value, ensure_ascii=False)), None


class ControlEscaper:
    """Escapes control characters inside the strings of JSON that comes in parts, like
    `read_arguments` does for whole arguments."""

    def __init__(self) -> None:
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> str:
        return "".join(map(self._escape, text))

    def _escape(self, char: str) -> str:
        if self._in_string and char < " ":
            return json.dumps(char)[1:-1]
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = self._in_string
        elif char == '"':
            self._in_string = not self._in_string
        return char


def _is_strict(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
