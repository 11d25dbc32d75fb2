"""Put what other programs wrote into the log."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from agentlm.errors import ConflictError, NotFoundError, OperatorError, RequestError
from agentlm.feedback import reward_of
from agentlm.store import Entry, Store
from agentlm.trajectory import Trajectory

TOGETHER = 200
"""Rows that are written together, to share their commits."""


@dataclass(slots=True)
class Imported:
    added: int = 0
    known: int = 0
    """Rows that the log had already."""
    malformed: list[str] = field(default_factory=list)
    """Each as `file:line: reason`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, which should be a row."""

    place: str
    text: bytes

    def parse(self) -> object:
        """Its JSON. Raises ValueError with a message of one line."""
        if self.text.lstrip().startswith(b"["):
            raise ValueError("a JSON array; one object a line is needed (jq -c '.[]' makes it)")
        return json.loads(self.text)


def read_lines(files: Iterable[Path]) -> Iterator[Line]:
    """The lines of the files, without blank ones. Raises OperatorError for an unreadable file."""
    for path in files:
        try:
            with path.open("rb") as file:
                for number, text in enumerate(file, 1):
                    if text.strip():
                        yield Line(f"{path}:{number}", text)
        except OSError as error:
            raise OperatorError(f"{path} can't be read: {error.strerror}") from error


async def import_lines(
    store: Store, lines: Iterable[Line], read: Callable[[object], Trajectory]
) -> Imported:
    """Append the trajectory that `read` makes of each line. Memory use is constant."""
    done = Imported()
    left = iter(lines)
    while some := list(islice(left, TOGETHER)):
        results = await asyncio.gather(*(_import(store, line, read) for line in some))
        for line, added in zip(some, results, strict=True):
            if isinstance(added, str):
                done.malformed.append(f"{line.place}: {added}")
            elif added:
                done.added += 1
            else:
                done.known += 1
    return done


def content_id(row: object, owner: str) -> str:
    """An id for a row that has none. It depends on the content alone, so the row is kept once."""
    text = json.dumps([owner, row], sort_keys=True, ensure_ascii=False)
    return f"traj_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


async def _import(store: Store, line: Line, read: Callable[[object], Trajectory]) -> bool | str:
    """True if it was added, False if the log had it, or the reason why it can't be added."""
    try:
        return await keep(store, read(line.parse()))
    except (ValueError, RequestError) as error:
        return " ".join(str(error).split())
    except RecursionError:
        return "nested too deeply"


async def keep(store: Store, trajectory: Trajectory) -> bool:
    """Append a whole trajectory. Returns False if the log has it already.

    A fork whose parent is not in the log becomes a trajectory of its own.
    """
    judged = trajectory.feedback and reward_of(trajectory.feedback) == trajectory.reward
    header = trajectory.model_copy(update={"reward": None}) if judged else trajectory
    try:
        await _append(store, header)
    except NotFoundError:
        alone = header.model_copy(update={"parent_id": None, "parent_step": None})
        return await keep(store, alone)
    except ConflictError:
        return False
    for interaction in trajectory.interactions:
        await store.append(Entry(header, len(trajectory.steps), (), interaction))
    for feedback in trajectory.feedback:
        await store.add_feedback(feedback, trajectory_id=header.id, admin=True)
    return True


async def _append(store: Store, header: Trajectory) -> None:
    first = header.parent_step or 0
    await store.append(Entry(header, first, header.steps[first:], lease_s=0))
