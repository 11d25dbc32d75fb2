"""Aliases: names that traffic uses. Each points to a card, with the reason for its promotion.

    DATA_DIR/models/aliases/production.json    the whole history, oldest first

The file is replaced as a whole, so a reader sees either the old card or the new one.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from agentlm.errors import OperatorError
from agentlm.files import exclusive, write_text
from agentlm.messages import Frozen


class Verdict(Frozen):
    """Whether a candidate passed the gate, and why not."""

    candidate: str
    incumbent: str
    passed: bool
    gain: float
    """Mean difference of success over the families of tasks."""
    reasons: tuple[str, ...]
    """What failed; empty if the candidate passed."""
    alarm: str | None = None
    """What looks like a reward that was learned and not what it stands for."""


class Promotion(Frozen):
    """A card receives an alias."""

    card: str
    at: float = Field(default_factory=time.time)
    """Unix seconds."""
    verdict: Verdict | None = None
    forced: str | None = None
    """Why it was promoted without passing the gate."""
    rollback: bool = False
    """It had the alias before, and replaces its successor again."""


_HISTORY = TypeAdapter(tuple[Promotion, ...])


class Aliases:
    """The aliases in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / "models" / "aliases"

    def list(self) -> dict[str, str]:
        """The card of every alias."""
        return {
            path.stem: self.history(path.stem)[-1].card
            for path in sorted(self._directory.glob("*.json"))
        }

    def card(self, alias: str) -> str | None:
        """The card of an alias; None: no such alias."""
        history = self.history(alias)
        return history[-1].card if history else None

    def history(self, alias: str) -> tuple[Promotion, ...]:
        """All promotions of an alias, oldest first."""
        path = self._path(alias)
        if not path.is_file():
            return ()
        try:
            return _HISTORY.validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            raise OperatorError(f"the alias {path} can't be read: {error}") from error

    def before(self, alias: str) -> str:
        """The card that a rollback would restore. Raises OperatorError if there is none."""
        standing: list[str] = []
        for promotion in self.history(alias):
            if promotion.rollback:
                standing.pop()
            else:
                standing.append(promotion.card)
        if len(standing) < 2:
            what = f"only {standing[0]} ever had it" if standing else "there is no such alias"
            raise OperatorError(f"nothing to go back to for {alias}: {what}")
        return standing[-2]

    def add(self, alias: str, promotion: Promotion) -> None:
        """Point an alias to a card."""
        with self._lock():
            self._write(alias, (*self.history(alias), promotion))

    def undo(self, alias: str) -> None:
        """Remove the last promotion, which did not take effect."""
        with self._lock():
            if history := self.history(alias)[:-1]:
                self._write(alias, history)
            else:
                self._path(alias).unlink()

    def _lock(self) -> AbstractContextManager[None]:
        """Only one process at a time may read and write a history."""
        return exclusive(self._directory / ".lock")

    def _write(self, alias: str, history: tuple[Promotion, ...]) -> None:
        write_text(self._path(alias), _HISTORY.dump_json(history, indent=2).decode())

    def _path(self, alias: str) -> Path:
        return self._directory / f"{alias}.json"
