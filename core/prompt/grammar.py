"""How a model writes thoughts, calls and answers, and how that is read back.

The canonical form is ReAct's, one call a turn::

    Thought: the user wants the number of files, so I list them
    Action: bash
    Action Input: {"command": "ls | wc -l"}

and, when nothing more is to be done::

    Thought: the command printed 42
    Final Answer: There are 42 files.

Observations come back as a user turn, as in AgentInstruct, and what the world said stands between
marks that it can't write itself, so that no page, file, row or remote tool can pass for the user::

    Observation: <data>
    42
    </data>

Without tools there is no form: the whole turn is the answer, read by the same parser started in its
last state.

One parser reads streams and whole texts. It holds back only what could still become a marker, a
stop string or trailing space, so a text split at any character gives the same fragments joined.
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
"""Only an upstream tells a refusal apart from an answer."""


class Fragment(NamedTuple):
    """A piece of what the model is saying. `call` is a tool's whole name, the others are parts."""

    kind: FragmentKind
    text: str
    call_id: str = ""
    """Of a `call`: the id that it is recorded under."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a turn said. Of `name` and `answer` at most one is set; neither: see `error`."""

    thought: str | None = None
    name: str | None = None
    arguments: str | None = None
    """Verbatim; JSON unless `error` says otherwise."""
    answer: str | None = None
    error: str | None = None


def call_lead(name: str) -> str:
    """How a call of a tool begins; its arguments follow."""
    return f"Action: {name}\nAction Input: "


def write(message: Message) -> str:
    """An assistant message of a client's history, in the words a model of ours would have used."""
    if not message.tool_calls:
        return message.content
    calls = [f"{call_lead(call.name)}{call.arguments}" for call in message.tool_calls]
    thought = [f"Thought: {message.content}"] if message.content else []
    return "\n".join([*thought, *calls])


def write_answer(answer: str, thought: str | None = None) -> str:
    """A final answer in the same words."""
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
"""The labels that end a section, each at the start of a line, and the section each begins; None:
the model began to invent an observation."""

_LABEL = {
    section: re.compile(r"\n[ \t]*(" + "|".join(map(re.escape, labels)) + ")")
    for section, labels in _AFTER.items()
    if labels
}
_SOMETHING = re.compile(r"\S")


class Parser:
    """Reads one turn, in pieces or whole.

    `start="answer"` reads all of it as the answer: for turns without tools, and for what follows
    a forced `Final Answer:`. `stop` are strings that end the answer; `keep_stop` makes them a part
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
        """Set once something ends the turn before the model does (a stop string, an invented
        observation): the offset in the turn's text where it begins. The rest is ignored."""
        self.call_offset: int | None = None
        """Where in the turn's text its call begins; None until it does."""
        self.answer_offset: int | None = None
        """Where in the turn's text the answer begins; None until it does."""
        self.answer_end = 0
        """Where in the turn's text the answer ends that was handed out so far."""
        self._section: _Section = start
        # A label counts at the start of a line, and so does the first of a turn.
        self._buffer = "\n" if start == "thought" else ""
        self._consumed = -len(self._buffer)
        self._stop = re.compile("|".join(map(re.escape, stop))) if stop else None
        self._stop_strings = tuple(stop)
        self._said: dict[_Section, list[str]] = {}

    def feed(self, text: str) -> list[Fragment]:
        """Read on. Returns what is certain now; nothing once `cut` is set."""
        if self.cut is not None:
            return []
        self._buffer += text
        return list(self._read(final=False))

    def finish(self) -> tuple[list[Fragment], Parsed]:
        """The turn is over: what was held back, and what the whole said."""
        fragments = list(self._read(final=True)) if self.cut is None else []
        return fragments, self._parsed()

    def _read(self, *, final: bool) -> Iterator[Fragment]:
        while (found := self._section_end()) is not None:
            kept = self._section == "answer" and self._keep_stop
            end = found.end() if kept else found.start()
            yield from self._say(self._trimmed(self._buffer[:end]), whole=True)
            following = _AFTER[self._section].get(found[0].strip())
            if following is None:
                self.cut = max(0, self._consumed + found.start())
                self._buffer = ""
                return
            if following == "name":
                self.call_offset = max(0, self._consumed + found.start())
            self._drop(found.end())
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
        """Whether a thought began before this label, which then is a part of it."""
        begin = _SOMETHING.search(self._buffer, 0, label.start())
        return begin is not None or "thought" in self._said

    def _say(self, text: str, *, whole: bool) -> Iterator[Fragment]:
        """Note and yield a part of the section. A tool's name is only said whole."""
        section = self._section
        first = section not in self._said
        shown = text.lstrip() if first and not self._verbatim else text
        if not shown or (section == "name" and not whole):
            return
        if section == "arguments" and "name" not in self._said:
            return  # of nothing: a call that names no tool is none
        if section == "answer" and first:
            self.answer_offset = self._consumed + len(text) - len(shown)
        if section == "answer":
            self.answer_end = self._consumed + len(text)
        self._said.setdefault(section, []).append(shown)
        yield Fragment("call" if section == "name" else section, shown)

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
        """Length of the longest end of the buffer with which a stop string begins."""
        longest = max(map(len, self._stop_strings), default=1) - 1
        for length in range(min(longest, len(self._buffer)), 0, -1):
            if any(stop.startswith(self._buffer[-length:]) for stop in self._stop_strings):
                return length
        return 0

    def _parsed(self) -> Parsed:
        said = {section: "".join(parts) for section, parts in self._said.items()}
        thought, name = said.get("thought"), said.get("name")
        if self._section == "answer":
            return Parsed(thought=thought, answer=said.get("answer", ""))
        if name is None:
            return Parsed(thought=thought, error="neither an Action nor a Final Answer")
        arguments, complaint = read_arguments(said.get("arguments", ""))
        return Parsed(thought=thought, name=name, arguments=arguments, error=complaint)


def parse(text: str) -> Parsed:
    """Read a whole turn in the canonical form."""
    parser = Parser()
    parser.feed(text)
    return parser.finish()[1]


def read_arguments(text: str) -> tuple[str, str | None]:
    """A call's arguments as JSON, and what is wrong with them, if anything.

    Verbatim where they are JSON. Decoding that bounds a string's length lets control characters
    through unescaped (xgrammar 0.2.8): those are escaped here.
    """
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        return text, f"the Action Input is not JSON: {error}"
    if not isinstance(value, dict):
        return text, f"the Action Input must be a JSON object, got {type(value).__name__}"
    return (text if _is_strict(text) else json.dumps(value, ensure_ascii=False)), None


class ControlEscaper:
    """Escapes control characters inside the strings of JSON that comes in parts, as
    `read_arguments` does of the whole."""

    def __init__(self) -> None:
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> str:
        """The next part."""
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
