"""Which trajectories: the one filter of the store, the command line, the API and fine-tuning.

A **condition** is a word that anybody may say: a flag of `agentlm logs` and `agentlm finetune`, a
key of a recipe, a parameter of `GET /v1/trajectories`, a word of a job's `log:QUERY`. The last two
are text, which one parser reads: `environment=db&min_reward=0.5&since=7d&tags.project=x`. A
**selection** is conditions and what only programs ask for.
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
    """Unix seconds of `2026-11-22`, `2026-11-22T10:00`, an age (`90m`, `3h`, `7d`, `2w`), or text
    of such seconds."""
    if isinstance(value, datetime.date):  # YAML reads one
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
    """What can be asked of a trajectory's header; every condition that is set must hold."""

    # Of this kind, because settings inherit from it too.
    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    owner: str | None = None
    """Only those of this API key's owner."""
    model: str | None = None
    """Only those that this model made."""
    source: Source | None = None
    """Only those that came into the log this way."""
    environment: str | None = None
    """Only those of this environment."""
    outcomes: tuple[Outcome, ...] = ()
    """Only those that ended so."""
    min_reward: float | None = Field(default=None, ge=0, le=1)
    """Only those with at least this reward."""
    since: Moment | None = None
    """Only those begun since a date (2026-11-22) or within an age (7d, 3h, 90m)."""
    until: Moment | None = None
    """Only those begun before a date or longer ago than an age."""
    tags: dict[str, str] = {}
    """Only those whose metadata has these entries (--tags key=value)."""

    def conditions(self) -> dict[str, Any]:
        """The conditions alone, of settings too that have more to say."""
        return {name: getattr(self, name) for name in Conditions.model_fields}


class Selection(Conditions):
    """Which trajectories to read."""

    or_corrected: bool = False
    """With `min_reward`: those with a corrected answer too, whatever their reward."""
    sometimes_solved: bool = False
    """Only those of tasks with a try that got `min_reward` (1 if none is set) and one that did not,
    among all tries that meet the other conditions: what every try solves teaches little more."""
    may_train_only: bool = True
    """Leave out what its owner's key does not allow to be trained on."""
    limit: int | None = None
    text: str | None = None
    """What somebody said in it, for `Store.search` alone."""


EVERYTHING = Selection(may_train_only=False)
"""No condition at all."""


def parse_query(query: str) -> list[tuple[str, str]]:
    """The words and texts of `environment=db&min_reward=0.5`; none for all.

    Raises RequestError for anything that is not of this form.
    """
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise RequestError(f"{query!r} is no query: {error}") from error


def condition_words(query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The conditions of a query's words and texts, to be validated with whatever they belong to.

    Raises RequestError for a word that selects nothing, or that is said twice.
    """
    found: dict[str, Any] = {}
    for word, text in query:
        if word.startswith("tags."):
            within, name = found.setdefault("tags", {}), word.removeprefix("tags.")
        elif word in Conditions.model_fields and word != "tags":
            within, name = found, word
        else:
            raise RequestError(f"unknown {word!r}; known: {', '.join(WORDS)}", param=word)
        if name in within:
            raise RequestError(f"{word} is said twice", param=word)
        within[name] = tuple(text.split(",")) if word == "outcomes" else text
    return found


WORDS = (*(name for name in Conditions.model_fields if name != "tags"), "tags.NAME")
"""Of a query."""


def parse_conditions(query: Iterable[tuple[str, str]]) -> Conditions:
    """The conditions that a query states. Raises RequestError for what can't be meant."""
    try:
        return Conditions(**condition_words(query))
    except ValidationError as error:
        first = error.errors(include_context=False)[0]
        word = str(first["loc"][0])
        reason = re.sub(r"^Value error, ", "", first["msg"])
        raise RequestError(f"{word}: {reason}, got {first['input']!r}", param=word) from error
