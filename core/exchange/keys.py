"""The keys of rows: which are read, which change nothing, and which are refused by name.

Public files have keys that nobody can list beforehand. Most say where a row came from; some reverse
its meaning (`label: false`, `rejected`, `loss_mask`) or belong to its text (`images`, `context`).
Such a key is never ignored: either the row's format reads it, or the row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from agentlm.errors import OperatorError

_JUDGING = frozenset(
    """
accept accepted advantage approved bad best better chosen compliant correct correctness delete
deleted deprecated disabled discard discarded dislike dpo drop dropped enabled error exclude
excluded fail failed failure feedback flagged good grade hallucinated hallucination harmful ignore
ignored include included incorrect invalid judge judgement judgment keep kept kto label learn learnt
like liked loss margin mask masked negative noisy outcome pass passed penalty positive prefer
preference preferred quality rank ranking rated rating refused reject rejected removed resolved
reward score select selected skip solved spam status success successful thumb toxic train trainable
trained training unsafe unused upvote valid verdict vote weight winner won worse worst wrong
""".split()
)
"""Words in keys that decide whether or how much a row or turn is learned; in the singular."""

_CONTENT = frozenset(
    """
answer answers assistant audio audios chat_template chat_template_kwargs completion completions
content context conversation conversations documents from function_call functions history human
image images input instruction messages observation observations output prompt query question
reasoning reasoning_content refusal response responses role solution suffix system system_prompt
target targets text think thinking thought thoughts tool_call tool_calls tool_response
tool_responses tools value video videos
""".split()
)
"""Keys whose values are the row's texts."""

_SAID = frozenset(
    """
action answer api assistant attachment audio background command completion content context
conversation doc document example file function history human image input instruction knowledge
message observation output passage persona plan preamble prompt query question reasoning refusal
response segment solution suffix sys system target text think thinking thought tool utterance video
""".split()
)
"""Words in keys whose values are text that was said or displayed, in the singular, unless the key
has one of these words as well, which make it only a description:"""
_TELLING = frozenset(
    """
category class cost count counter created creation dataset date difficulty fingerprint format hash
hashed id identifier idx index kind lang language len length level license link model name num
number order path ratio size source src stat subset time timestamp token topic turn type updated uri
url usage user uuid version
""".split()
)
_HARMLESS = frozenset(
    """
metadata parallel_tool_calls response_format store stream stream_options tool_choice
""".split()
)
"""Keys of requests that don't change any text of the row."""

ROW_KEYS = frozenset(
    """
chosen completion conversations functions history id input instruction item_id label messages output
prompt query rejected response steps system text tools
""".split()
)
TURN_KEYS = frozenset(
    """
content from function_call loss name reasoning reasoning_content refusal role thinking thought
tool_call_id tool_calls train value weight
""".split()
)
_SAME = (
    ("role", "from"),
    ("content", "value"),
    ("tool_calls", "function_call"),
    ("reasoning_content", "reasoning", "thinking", "thought"),
    ("tools", "functions"),
)
_TURNS = ("messages", "conversations", "prompt", "completion", "chosen", "rejected")
"""Keys of rows that can hold lists of turns."""


def check_keys(row: Mapping[str, Any], known: frozenset[str], texts: Iterable[Any] = ()) -> None:
    """Raise ValueError for an unknown key that could change what is learned.

    A null or empty value changes nothing, nor does a repetition of one of `texts`. A boolean counts
    as a verdict, whatever its key.
    """
    keys = tuple(row)
    for one, other in _doubles(keys):
        if None not in (row[one], row[other]) and row[one] != row[other]:
            raise ValueError(f"{one} and {other}: both are there, and differ")
    doubtful, others = _unknown(keys, known)
    grounds = [key for key in doubtful if _says(row[key], texts)]
    grounds += [key for key in others if isinstance(row[key], bool)]
    if grounds:
        raise ValueError(
            f"{grounds[0]}: it could change what is learnt and is not read here, got "
            f"{short(row[grounds[0]])}; "
            f"take it out of the rows (or --ignore-keys {','.join(grounds)})"
        )


def _says(value: Any, texts: Iterable[Any]) -> bool:
    return value not in (None, "", [], {}) and not (isinstance(value, str) and value in texts)


@lru_cache(maxsize=1024)
def _unknown(
    keys: tuple[str, ...], known: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The unknown ones among the keys: doubtful ones, and others."""
    unknown = [key for key in keys if key not in known and key not in _HARMLESS]
    doubtful = tuple(filter(_doubtful, unknown))
    return doubtful, tuple(key for key in unknown if key not in doubtful)


def _doubtful(key: str) -> bool:
    words = frozenset(_words(key))
    judges = not _JUDGING.isdisjoint(words)
    holds = not _SAID.isdisjoint(words) and _TELLING.isdisjoint(words)
    return judges or holds or key.lower() in _CONTENT


@lru_cache(maxsize=1024)
def _doubles(keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Keys that are two names for one thing."""
    named = [[name for name in names if name in keys] for names in _SAME]
    return tuple((names[0], other) for names in named for other in names[1:])


def _words(key: str) -> list[str]:
    """The words of a key, in the singular: the same for `lossMasks` and `loss_mask`."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower())
    return [*words, *(word.removesuffix("s") for word in words)]


def short(value: object, most: int = 60) -> str:
    """A value of a row, shortened for a message."""
    text = repr(value[: most + 1] if isinstance(value, (str, bytes, list)) else value)
    return text if len(text) <= most else f"{text[:most]}…"


class Columns:
    """The names of a file's keys in a format (`messages=conv`), and which keys are ignored."""

    def __init__(self, names: Mapping[str, str] | None = None, ignored: Iterable[str] = ()) -> None:
        self._rows = {key: own for key, own in (names or {}).items() if key in ROW_KEYS}
        self._turns = {key: own for key, own in (names or {}).items() if key in TURN_KEYS}
        for key in (names or {}).keys() - ROW_KEYS - TURN_KEYS:
            known = ", ".join(sorted(ROW_KEYS | TURN_KEYS))
            raise OperatorError(f"--columns: no format has a key {key!r}; known: {known}")
        self._ignored = frozenset(ignored)
        self._unseen = {*self._rows.values(), *self._turns.values()}

    def rename(self, row: object) -> object:
        """The row with the keys that the formats know."""
        if not isinstance(row, dict) or not (self._rows or self._turns or self._ignored):
            return row
        row = self._renamed(row, self._rows)
        for key in _TURNS:
            if isinstance(row.get(key), list):
                row[key] = [
                    self._renamed(turn, self._turns) if isinstance(turn, dict) else turn
                    for turn in row[key]
                ]
        return row

    def check_used(self, file: str) -> None:
        """Raise OperatorError for a column that no row of the file has."""
        if self._unseen:
            names = ", ".join(sorted(self._unseen))
            raise OperatorError(f"--columns: no row of {file} has a key {names}")

    def _renamed(self, row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        own = names.values()
        kept = {
            key: value for key, value in row.items() if key not in own and key not in self._ignored
        }
        renamed = {key: row[name] for key, name in names.items() if name in row}
        self._unseen.difference_update(name for name in own if name in row)
        return kept | renamed
