"""What was said in each try, kept beside its result, so that a person can read why it failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from agentlm.environments.error_classes import Exchange
from agentlm.environments.playing.play import Play
from agentlm.environments.playing.players import whole_characters
from agentlm.environments.playing.progress import Kept, Result
from agentlm.environments.playing.recording import Recorder
from agentlm.files import json_lines
from agentlm.messages import Frozen, Message


class Turn(Frozen):
    """One turn of a player and what the world replied."""

    thought: str = ""
    tool: str | None = None
    arguments: str = ""
    """Of the call, as the player wrote them."""
    answer: str | None = None
    observation: str | None = None
    failed: bool = False
    """The observation is an error."""
    invalid: str | None = None
    """Why the turn could not be read as an action."""
    invented: tuple[str, ...] = ()
    """Names in the call that stand nowhere in the context."""

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """An exchange in the form that is kept."""
        call, seen = exchange.call, exchange.observation
        return cls(
            thought=whole_characters(exchange.thought),
            tool=call and call.name,
            arguments=whole_characters(call.arguments) if call else "",
            answer=exchange.answer and whole_characters(exchange.answer),
            observation=seen and whole_characters(seen.text),
            failed=seen is not None and seen.failed,
            invalid=exchange.invalid,
            invented=exchange.invented,
        )


class Transcript(Frozen):
    """One try, as it went."""

    task_id: str
    attempt: int
    opening: tuple[Message, ...]
    turns: tuple[Turn, ...]


class TranscriptRecorder:
    """Keeps what was said before another recorder keeps the run. A context manager."""

    def __init__(self, file: Path, recorder: Recorder) -> None:
        self._recorder = recorder
        self._path = file

    def __enter__(self) -> Self:
        self._file = self._path.open("a", encoding="utf-8")
        self._file.write("\n")  # ends a line that was half written when the process died
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    async def keep(self, run: Play) -> Kept:
        """A try that is played again is kept again; the last one counts."""
        transcript = Transcript(
            task_id=run.task.id,
            attempt=run.attempt,
            opening=run.opening,
            turns=tuple(map(Turn.of, run.exchanges)),
        )
        self._file.write(transcript.model_dump_json() + "\n")
        self._file.flush()
        return await self._recorder.keep(run)

    async def score(self, result: Result) -> None:
        """See `Recorder.score`."""
        await self._recorder.score(result)


def transcripts(file: Path) -> dict[tuple[str, int], Transcript]:
    """Try → what was said in it. A line that was half written when the process died is no try."""
    if not file.exists():
        return {}
    return {(each.task_id, each.attempt): each for each in _read(file)}


def _read(file: Path) -> Iterator[Transcript]:
    for line in json_lines(file.read_text(encoding="utf-8")):
        try:
            yield Transcript.model_validate_json(line)
        except ValidationError:
            continue
