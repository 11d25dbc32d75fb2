"""Which trajectories: the one filter of the store, the command line, the API and fine-tuning.

A **condition** is a word that users can write: a flag of `agentlm logs` and `agentlm finetune`, a
recipe key, a parameter of `GET /v1/trajectories`, a word in a job's `log:QUERY`. The last two are
text, read by one parser: `environment=db&min_reward=0.5&since=7d&tags.project=x`. A **selection**
consists of conditions and of options that only programs use.
"""

from __future__ import annotations

import datetime
import math
import re
import time
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic_settings import SettingsConfigDict

from agentlm.errors import RequestError
from agentlm.trajectory import Outcome

Source = Literal["chat", "agent", "rollout", "import"]

_UNITS_S = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_time(value: Any) -> Any:
    """Unix seconds for `2026-11-22`, `2026-11-22T10:00`, an age (`90m`, `3h`, `7d`, `2w`), or a
    number as text."""
    if isinstance(value, datetime.date):  # YAML turns dates into these
        value = value.isoformat()
    if not isinstance(value, str):
        return value
    if age := re.fullmatch(r"(\d+)([mhdw])", value):
        return time.time() - int(age[1]) * _UNITS_S[age[2]]
    try:
        seconds = (
            datetime.datetime.fromisoformat(value).timestamp() if "-" in value else float(value)
        )
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError("must be a date (2026-11-22), an age (7d, 3h) or Unix seconds")
    return seconds


Moment = Annotated[float, BeforeValidator(parse_time), Field(allow_inf_nan=False)]


class Conditions(BaseModel):
    """Conditions on a trajectory's header. All that are set must hold."""

    # A BaseModel, because settings inherit from it, too.
    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    owner: str | None = None
    """Only those of this API key's owner."""
    model: str | None = None
    """Only those that this model made."""
    source: Source | None = None
    """Only those that came into the log from this source."""
    environment: str | None = None
    """Only those of this environment."""
    outcomes: tuple[Outcome, ...] = ()
    """Only those with this outcome."""
    min_reward: float | None = Field(default=None, ge=0, le=1)
    """Only those with at least this reward."""
    since: Moment | None = None
    """Only those begun since a date (2026-11-22) or within an age (7d, 3h, 90m)."""
    until: Moment | None = None
    """Only those begun before a date or longer ago than an age."""
    tags: dict[str, str] = {}
    """Only those whose metadata has these entries (--tags key=value)."""

    def conditions(self) -> dict[str, Any]:
        """Only the conditions, also if a subclass has other fields."""
        return {name: getattr(self, name) for name in Conditions.model_fields}


class Selection(Conditions):
    """Which trajectories to read."""

    or_corrected: bool = False
    """With `min_reward`: also those with a corrected answer, whatever their reward."""
    sometimes_solved: bool = False
    """Only those of tasks with both a try that got `min_reward` (1 if it is not set) and one that
    did not, among all tries that meet the other conditions. Tasks that every try solves teach
    little."""
    may_train_only: bool = True
    """Leave out trajectories whose owner's key does not allow training."""
    limit: int | None = None
    text: str | None = None
    """Text that a step contains; only `Store.search` uses it."""


EVERYTHING = Selection(may_train_only=False)
"""No conditions."""


def parse_query(query: str) -> list[tuple[str, str]]:
    """The words and values of `environment=db&min_reward=0.5`; an empty query has none.

    Raises RequestError if the text has another form.
    """
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise RequestError(f"{query!r} is not a query: {error}") from error


def condition_words(query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The conditions of a query's words and values, not yet validated.

    Raises RequestError for an unknown or repeated word.
    """
    words: dict[str, Any] = {}
    for word, text in query:
        if word.startswith("tags."):
            within, name = words.setdefault("tags", {}), word.removeprefix("tags.")
        elif word in Conditions.model_fields and word != "tags":
            within, name = words, word
        else:
            raise RequestError(f"unknown {word!r}; known: {', '.join(WORDS)}", param=word)
        if name in within:
            raise RequestError(f"{word} is given twice", param=word)
        within[name] = tuple(text.split(",")) if word == "outcomes" else text
    return words


WORDS = (*(name for name in Conditions.model_fields if name != "tags"), "tags.NAME")
"""The words of a query."""


def parse_conditions(query: Iterable[tuple[str, str]]) -> Conditions:
    """The conditions of a query. Raises RequestError for invalid ones."""
    try:
        return Conditions(**condition_words(query))
    except ValidationError as error:
        first = error.errors(include_context=False)[0]
        word = str(first["loc"][0])
        reason = re.sub(r"^Value error, ", "", first["msg"])
        raise RequestError(f"{word}: {reason}, got {first['input']!r}", param=word) from error
