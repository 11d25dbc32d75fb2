"""Aliases: names that traffic uses, each pointing to a card, and why the card got its turn.

    DATA_DIR/models/aliases/production.json    the whole history, oldest first

The file is replaced as a whole, so whoever reads it sees the old card or the new one.
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
    """What failed; empty if it passed."""


class Promotion(Frozen):
    """A card's getting an alias."""

    card: str
    at: float = Field(default_factory=time.time)
    """Unix seconds."""
    verdict: Verdict | None = None
    forced: str | None = None
    """Why it was promoted although the gate did not pass it."""
    rollback: bool = False
    """It had the alias before, and the card after it is taken back."""


_HISTORY = TypeAdapter(tuple[Promotion, ...])


class Aliases:
    """The aliases of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / "models" / "aliases"

    def list(self) -> dict[str, str]:
        """Every alias with its card."""
        return {
            path.stem: self.history(path.stem)[-1].card
            for path in sorted(self._directory.glob("*.json"))
        }

    def card(self, alias: str) -> str | None:
        """The card that an alias points to; None: there is no such alias."""
        history = self.history(alias)
        return history[-1].card if history else None

    def history(self, alias: str) -> tuple[Promotion, ...]:
        """All of an alias's promotions, oldest first."""
        path = self._path(alias)
        if not path.is_file():
            return ()
        try:
            return _HISTORY.validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            raise OperatorError(f"the alias {path} can't be read: {error}") from error

    def before(self, alias: str) -> str:
        """The card that a rollback leads to. Raises OperatorError if there is none."""
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
        """Forget the last promotion, which did not come about."""
        with self._lock():
            if history := self.history(alias)[:-1]:
                self._write(alias, history)
            else:
                self._path(alias).unlink()

    def _lock(self) -> AbstractContextManager[None]:
        """A history is read and written by one process at a time."""
        return exclusive(self._directory / ".lock")

    def _write(self, alias: str, history: tuple[Promotion, ...]) -> None:
        write_text(self._path(alias), _HISTORY.dump_json(history, indent=2).decode())

    def _path(self, alias: str) -> Path:
        return self._directory / f"{alias}.json"
