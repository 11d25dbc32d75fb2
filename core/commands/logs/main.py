"""`agentlm logs`: look at the log, export from it, import into it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from pydantic_core import to_json
from rich.table import Table
from rich.text import Text

from agentlm.commands.logs.importing import content_id, import_lines, read_lines
from agentlm.commands.logs.provenance import held
from agentlm.commands.logs.settings import (
    AuditLogs,
    DeleteLogs,
    ExportLogs,
    ImportLogs,
    ListLogs,
    LogStats,
    ShowLog,
    TailLogs,
)
from agentlm.commands.logs.timeline import SHORT_ID, briefly, one_line, timeline
from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.console import Console
from agentlm.errors import NotFoundError, OperatorError
from agentlm.exchange import FORMATS
from agentlm.printable import printable, say
from agentlm.settings import Settings
from agentlm.store import LOCAL_OWNER, AuditRecord, Header, Store
from agentlm.store.database import file_of
from agentlm.tools.shell.pool import remove_work_directory
from agentlm.trajectory import Trajectory

ID_PREFIX, LEAST_DIGITS = "traj_", 4
"""How ids begin, and how many characters after that have to be typed at least."""
FOLLOW_S = 0.5
"""Interval between looks for new steps: our databases don't notify other processes of a commit."""


def main(argv: list[str]) -> int:
    return dispatch(COMMANDS, argv, "agentlm logs")


def list_logs(settings: ListLogs) -> int:
    """Print one page of headers."""
    with _reading(settings) as store:
        after = None if settings.after is None else _whole_id(store, settings.after)
        headers, more = store.page(
            settings.owner, settings.selection(), limit=settings.limit, after=after
        )
        short = {header.id: short_id(store, header.id) for header in headers}
    if settings.print_json:
        for header in headers:
            say(header.model_dump_json(exclude={"steps", "interactions", "feedback"}))
        return 0
    _print(_header_table(headers, short))
    if more:
        say(f"more: agentlm logs list --after {short[headers[-1].id]}")
    return 0


def show_log(settings: ShowLog) -> int:
    with _reading(settings) as store:
        trajectory = _find(store, settings.id)
    if settings.print_json:
        say(trajectory.model_dump_json(indent=2))
    else:
        _print(timeline(trajectory, full=settings.full))
    return 0


def tail_logs(settings: TailLogs) -> int:
    """Print the last steps, then new ones as they come."""
    console = Console(soft_wrap=True, highlight=False)
    with _reading(settings) as store:
        news = store.written(-settings.lines)
        place = 0
        while True:
            for written in news:
                console.print(one_line(written.step, written.trajectory_id))
                place = written.place
            if not settings.follow:
                return 0
            if not news:
                time.sleep(FOLLOW_S)
            news = store.written(place)


def audit_logs(settings: AuditLogs) -> int:
    """Print one page of the audit trail."""
    with _reading(settings) as store:
        page, more = store.audit.page(settings.owner, limit=settings.limit, after=settings.after)
    if settings.print_json:
        for number, record in page:
            say(to_json({"id": number, **record.model_dump()}).decode())
        return 0
    _print(_audit_table(page))
    if more:
        print(f"more: agentlm logs audit --after {page[-1][0]}")
    return 0


def log_stats(settings: LogStats) -> int:
    with _reading(settings) as store:
        stats = store.stats(settings.selection())
    if settings.print_json:
        say(stats.model_dump_json(indent=2))
        return 0
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in stats:
        if isinstance(value, dict):
            text = "  ".join(f"{key} {count:,}" for key, count in value.items())
        else:
            text = "none" if value is None else f"{value:,.4g}" if value else "0"
            text = f"{value:,}" if isinstance(value, int) else text
        table.add_row(name.replace("_", " "), Text(text))
    _print(table)
    return 0


def export_logs(settings: ExportLogs) -> int:
    write = FORMATS[settings.format].write
    selection = settings.selection(
        may_train_only=settings.may_train_only, sometimes_solved=settings.sometimes_solved
    )
    count = 0
    with _reading(settings) as store, _writing(settings.output) as file:
        chosen = islice(_few_a_task(store.select(selection), settings.per_task), settings.limit)
        for count, trajectory in enumerate(chosen, 1):  # noqa: B007
            line = to_json(write(trajectory)).decode()
            file.write((printable(line) if file is sys.stdout else line) + "\n")
    print(f"trajectories exported: {count:,}", file=sys.stderr)
    return 0


def _few_a_task(rows: Iterable[Trajectory], most: int | None) -> Iterator[Trajectory]:
    tasks: Counter[tuple[str | None, str]] = Counter()
    for row in rows:
        if most is not None and row.task_id is not None:
            task = row.environment, row.task_id
            tasks[task] += 1
            if tasks[task] > most:
                continue
        yield row


def import_logs(settings: ImportLogs) -> int:
    """Returns 1 if any line could not be read."""
    settings.prepare_data_dir()
    read = _reader(settings)
    with closing(Store.open(settings.log_url())) as store:
        done = asyncio.run(import_lines(store, read_lines(settings.files), read))
    for line in done.malformed:
        say(line, sys.stderr)
    known = f", there already: {done.known:,}" if done.known else ""
    malformed = f", malformed: {len(done.malformed):,}" if done.malformed else ""
    print(f"trajectories imported: {done.added:,}{known}{malformed}")
    return 1 if done.malformed else 0


def delete_logs(settings: DeleteLogs) -> int:
    """Delete trajectories, and print where else they are kept. Returns 1 if any does not exist."""
    with _reading(settings) as store:
        ids = [_whole_id(store, one) or one for one in settings.ids]
        places = [held(one, store, settings.data_dir) for one in ids]
        deleted = asyncio.run(_delete(store, ids, settings.sandboxes_dir()))
    for one, was_there, elsewhere in zip(ids, deleted, places, strict=True):
        say(f"{one} is deleted" if was_there else f"there is no trajectory {one}")
        if elsewhere.models:
            say(f"  but models were trained on it: {', '.join(elsewhere.models)}")
        for run in elsewhere.runs:
            say(f"  and its text is still in {run}")
    return 0 if all(deleted) else 1


COMMANDS = {
    "list": Subcommand(ListLogs, list_logs),
    "show": Subcommand(ShowLog, show_log),
    "tail": Subcommand(TailLogs, tail_logs),
    "audit": Subcommand(AuditLogs, audit_logs),
    "stats": Subcommand(LogStats, log_stats),
    "export": Subcommand(ExportLogs, export_logs),
    "import": Subcommand(ImportLogs, import_logs),
    "delete": Subcommand(DeleteLogs, delete_logs),
}


@contextmanager
def _reading(settings: Settings) -> Iterator[Store]:
    """The existing log; looking at it creates none. Raises OperatorError if there is none yet."""
    url = settings.log_url()
    file = file_of(url)
    if file is not None and not file.exists():
        raise OperatorError(
            f"there is no log yet at {file}: agentlm serve begins one, "
            "and so does agentlm logs import"
        )
    with closing(Store.open(url)) as store:
        yield store


def _find(store: Store, name: str) -> Trajectory:
    """Find it by a completion's id, its own id, or the beginning of its id."""
    interactions = store.by_completion(name, None)
    trajectory_id = interactions[0].trajectory_id if interactions else _whole_id(store, name)
    trajectory = store.get(trajectory_id, None) if trajectory_id else None
    if trajectory is None:
        raise NotFoundError(f"there is no trajectory or completion {name}")
    return trajectory


def _whole_id(store: Store, beginning: str) -> str | None:
    """The trajectory whose id begins like this, with or without `traj_`; None if there is none.

    Raises NotFoundError if there are several, or if the beginning is too short.
    """
    whole = beginning if beginning.startswith(ID_PREFIX) else ID_PREFIX + beginning
    if store.get(whole, None) is not None:
        return whole
    if len(whole) < len(ID_PREFIX) + LEAST_DIGITS:
        raise NotFoundError(
            f"{beginning!r} is too short: give at least {LEAST_DIGITS} characters after {ID_PREFIX}"
        )
    ids = store.ids(whole)
    if len(ids) > 1:
        raise NotFoundError(f"more than one trajectory begins with {beginning}")
    return ids[0] if ids else None


def short_id(store: Store, trajectory_id: str) -> str:
    """The shortest beginning of the id that no other trajectory of the log shares."""
    for length in range(SHORT_ID, len(trajectory_id), 4):
        if len(store.ids(trajectory_id[:length])) == 1:
            return trajectory_id[:length]
    return trajectory_id


def _header_table(headers: list[Header], short: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("trajectory", "begun", "source", "model", "outcome"):
        table.add_column(name, no_wrap=name != "model", overflow="fold")
    for name in ("reward", "steps", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for header in headers:
        reward = "" if header.reward is None else f"{header.reward:g}"
        tokens = header.sampled_tokens + header.prompt_tokens
        begun = briefly(header.created)
        plain = (short[header.id], begun, header.source, header.model, header.outcome)
        table.add_row(*map(Text, (*plain, reward, str(header.step_count), str(tokens))))
    return table


def _audit_table(page: list[tuple[int, AuditRecord]]) -> Table:
    table = Table("", "begun", "owner", "tool", "ended", box=None, pad_edge=False)
    table.add_column("took", justify="right")
    table.add_column("trajectory", no_wrap=True)
    for number, record in page:
        begun = briefly(record.created)
        plain = (str(number), begun, record.owner, record.tool, record.verdict)
        took = f"{record.seconds:.2f}s"
        table.add_row(*map(Text, (*plain, took, record.trajectory_id[:SHORT_ID])))
    return table


def _print(table: object) -> None:
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    # A file or a pipe has no width to fit into, and must not be padded with blanks.
    console.width = 200
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


@contextmanager
def _writing(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears complete or not at all."""
    if path is None:
        yield sys.stdout
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise OperatorError(f"{path} can't be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _reader(settings: ImportLogs) -> Callable[[object], Trajectory]:
    """The function that turns a row into a trajectory, by the format and the flags."""
    overrides = settings.model_dump(
        include={"owner", "model", "environment", "reward"}, exclude_none=True
    )
    read = FORMATS[settings.format].read
    whole = settings.format == "jsonl"

    def read_row(row: object) -> Trajectory:
        trajectory = read(row)
        if whole:
            return trajectory.model_copy(update=overrides)
        owner = settings.owner or LOCAL_OWNER
        named = {"id": content_id(row, owner), "owner": owner}
        return trajectory.model_copy(update=named | overrides)

    return read_row


async def _delete(store: Store, ids: list[str], sandboxes: Path) -> list[bool]:
    """Delete each, its work directory first: if that fails, the command can be repeated."""
    deleted = []
    for one in ids:
        if await asyncio.to_thread(store.get, one, None) is not None:
            remove_work_directory(sandboxes, one)
        deleted.append(await store.delete(one, None))
    return deleted
