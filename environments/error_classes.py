"""The five ways in which an agent's run goes wrong, detected independently of its reward.

* `refusal`: it answers that it can't or won't, or that it is only a language model;
* `invalid_action`: it wrote no call and no answer that can be read, named a tool that does not
  exist, or gave arguments that don't fit;
* `repetition`: it made the same call three times running, or said one phrase over and over;
* `call_error`: a call that could be run failed;
* `invented_name`: a call has a name that is nowhere in the context (`invented_names.py`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal, get_args

from agentlm.agent.tool import Observation
from agentlm.messages import ToolCall, ToolSpec

ErrorClass = Literal["refusal", "invalid_action", "repetition", "call_error", "invented_name"]

ERROR_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)

_REFUSAL = re.compile(
    r"\bas an ai\b|\bi(?:'m| am) (?:just |only )?an? (?:ai|(?:large )?language model)\b"
    r"|\bi(?:'m| am) (?:sorry|unable|not able)\b|\bi (?:can(?:'t|not)|do(?:n't| not) have) "
    r"(?:\w+ )?(?:help|assist|access|do that|provide|the ability|the capability|execute|perform)",
    re.IGNORECASE,
)
_PHRASE_WORDS = 8
_PHRASE_LIMIT = 5
_SAME_CALLS = 3


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn of a player and what the world replied."""

    thought: str = ""
    call: ToolCall | None = None
    answer: str | None = None
    observation: Observation | None = None
    """Set if the turn made a call that ran."""
    invalid: str | None = None
    """Why the turn could not be read as an action."""
    invented: tuple[str, ...] = ()
    """Names in the call that are nowhere in what the player has read."""
    earned: float | None = None
    """Reward after this turn, if the world reports it on the way."""

    @property
    def text(self) -> str:
        """All of the turn's text."""
        called = f"{self.call.name} {self.call.arguments}" if self.call else ""
        return "\n".join(part for part in (self.thought, called, self.answer) if part)


def classify(exchanges: Sequence[Exchange]) -> tuple[ErrorClass, ...]:
    """The classes that a run belongs to, each once, in the order of `ERROR_CLASSES`."""
    present: dict[ErrorClass, bool] = {
        "refusal": any(e.call is None and _REFUSAL.search(e.text) for e in exchanges),
        "invalid_action": any(e.invalid is not None for e in exchanges),
        "repetition": _repeats_calls(exchanges) or any(babbles(e.text) for e in exchanges),
        "call_error": any(
            e.invalid is None and e.observation is not None and e.observation.failed
            for e in exchanges
        ),
        "invented_name": any(e.invented for e in exchanges),
    }
    return tuple(name for name in ERROR_CLASSES if present[name])


def complaint(call: ToolCall, tools: Iterable[ToolSpec]) -> str | None:
    """Why a call can't be run, in words for the player; None if it can."""
    known = {tool.name: tool for tool in tools}
    tool = known.get(call.name)
    if tool is None:
        return f"unknown tool {call.name!r}; known: {', '.join(sorted(known))}"
    try:
        arguments = call.parsed()
    except ValueError as error:
        return f"the arguments of {call.name} are not a JSON object: {error}"
    if not _is_whole(arguments):
        return f"the arguments of {call.name} hold half of a character"
    return _misfit(arguments, tool.parameters)


def _is_whole(arguments: dict[str, Any]) -> bool:
    """Whether the text can be encoded: JSON may have lone surrogates, files can't."""
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _misfit(arguments: dict[str, Any], schema: dict[str, Any]) -> str | None:
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    allowed = ", ".join(properties)
    for name in schema.get("required", []):
        if name not in arguments:
            return f"the argument {name!r} is missing; arguments: {allowed}"
    for name, value in arguments.items():
        if name not in properties:
            return f"unknown argument {name!r}; arguments: {allowed}"
        wanted = properties[name].get("type")
        if wanted in _TYPES and not isinstance(value, _TYPES[wanted]):
            return f"the argument {name!r} must be of type {wanted}, got {json.dumps(value)}"
    return None


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def babbles(text: str) -> bool:
    """Whether a phrase of eight words occurs more than five times."""
    words = text.split()
    phrases = Counter(
        tuple(words[i : i + _PHRASE_WORDS]) for i in range(len(words) - _PHRASE_WORDS + 1)
    )
    return max(phrases.values(), default=0) > _PHRASE_LIMIT


def repeated_calls(exchanges: Sequence[Exchange]) -> int:
    """How many times in a row the last call was made."""
    calls = [(e.call.name, e.call.arguments) if e.call else None for e in exchanges]
    same = takewhile(lambda call: call is not None and call == calls[-1], reversed(calls))
    return sum(1 for _ in same)


def _repeats_calls(exchanges: Sequence[Exchange]) -> bool:
    ends = range(1, len(exchanges) + 1)
    return any(repeated_calls(exchanges[:end]) >= _SAME_CALLS for end in ends)
