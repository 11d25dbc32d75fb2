"""`agentlm logs`: look at the log, take it elsewhere, bring others' in."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
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
from agentlm.commands.logs.timeline import one_line, timeline, when
from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.console import Console
from agentlm.errors import NotFoundError, OperatorError
from agentlm.exchange import FORMATS
from agentlm.printable import printable, say
from agentlm.store import LOCAL_OWNER, AuditRecord, Header, Store
from agentlm.trajectory import Trajectory

FOLLOW_S = 0.5
"""Between two looks for new steps: no database that we use tells another process of a commit."""


def main(argv: list[str]) -> int:
    """Entry point of `agentlm logs`."""
    return dispatch(COMMANDS, argv, "agentlm logs")


def list_logs(settings: ListLogs) -> int:
    """Print a page of headers."""
    with closing(Store.open(settings.log_url())) as store:
        headers, more = store.page(
            settings.owner, settings.selection(), limit=settings.limit, after=settings.after
        )
    if settings.print_json:
        for header in headers:
            say(header.model_dump_json(exclude={"steps", "interactions", "feedback"}))
        return 0
    _print(_header_table(headers))
    if more:
        print(f"more: agentlm logs list --after {headers[-1].id}")
    return 0


def show_log(settings: ShowLog) -> int:
    """Print one trajectory."""
    with closing(Store.open(settings.log_url())) as store:
        trajectory = _find(store, settings.id)
    if settings.print_json:
        say(trajectory.model_dump_json(indent=2))
    else:
        _print(timeline(trajectory, full=settings.full))
    return 0


def tail_logs(settings: TailLogs) -> int:
    """Print the last steps, and those that come."""
    console = Console(soft_wrap=True, highlight=False)
    with closing(Store.open(settings.log_url())) as store:
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
    """Print a page of the audit trail."""
    with closing(Store.open(settings.log_url())) as store:
        found, more = store.audit.page(settings.owner, limit=settings.limit, after=settings.after)
    if settings.print_json:
        for number, record in found:
            say(to_json({"id": number, **record.model_dump()}).decode())
        return 0
    _print(_audit_table(found))
    if more:
        print(f"more: agentlm logs audit --after {found[-1][0]}")
    return 0


def log_stats(settings: LogStats) -> int:
    """Print counts."""
    with closing(Store.open(settings.log_url())) as store:
        stats = store.stats(settings.selection())
    if settings.print_json:
        say(stats.model_dump_json(indent=2))
        return 0
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in stats:
        if isinstance(value, dict):
            shown = "  ".join(f"{key} {count:,}" for key, count in value.items())
        else:
            shown = "none" if value is None else f"{value:,.4g}" if value else "0"
            shown = f"{value:,}" if isinstance(value, int) else shown
        table.add_row(name.replace("_", " "), Text(shown))
    _print(table)
    return 0


def export_logs(settings: ExportLogs) -> int:
    """Write trajectories as JSON lines."""
    write = FORMATS[settings.format].write
    selection = settings.selection(may_train_only=settings.may_train_only, limit=settings.limit)
    count = 0
    with closing(Store.open(settings.log_url())) as store, _writing(settings.output) as file:
        for count, trajectory in enumerate(store.select(selection), 1):  # noqa: B007
            line = to_json(write(trajectory)).decode()
            file.write((printable(line) if file is sys.stdout else line) + "\n")
    print(f"trajectories exported: {count:,}", file=sys.stderr)
    return 0


def import_logs(settings: ImportLogs) -> int:
    """Read trajectories from JSON lines; 1 if any line could not be."""
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
    """Delete trajectories, and say where else they are; 1 if any is not there."""
    with closing(Store.open(settings.log_url())) as store:
        places = [held(one, store, settings.data_dir) for one in settings.ids]
        deleted = asyncio.run(_delete(store, settings.ids))
    for one, was_there, elsewhere in zip(settings.ids, deleted, places, strict=True):
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


def _find(store: Store, name: str) -> Trajectory:
    """By a completion's id, a trajectory's, or the beginning of one."""
    interactions = store.by_completion(name, None)
    ids = [interactions[0].trajectory_id] if interactions else store.ids(name)
    if len(ids) > 1:
        raise NotFoundError(f"more than one trajectory begins with {name}")
    found = store.get(ids[0], None) if ids else None
    if found is None:
        raise NotFoundError(f"there is no trajectory or completion {name}")
    return found


def _header_table(headers: list[Header]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("trajectory", "begun", "source", "model", "outcome"):
        table.add_column(name, no_wrap=name != "model", overflow="fold")
    for name in ("reward", "steps", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for header in headers:
        reward = "" if header.reward is None else f"{header.reward:g}"
        tokens = header.sampled_tokens + header.prompt_tokens
        plain = (header.id, when(header.created), header.source, header.model, header.outcome)
        table.add_row(*map(Text, (*plain, reward, str(header.step_count), str(tokens))))
    return table


def _audit_table(found: list[tuple[int, AuditRecord]]) -> Table:
    table = Table("", "begun", "owner", "tool", "ended", box=None, pad_edge=False)
    table.add_column("took", justify="right")
    table.add_column("trajectory", no_wrap=True)
    for number, record in found:
        plain = (str(number), when(record.created), record.owner, record.tool, record.verdict)
        took = f"{record.seconds:.2f}s"
        table.add_row(*map(Text, (*plain, took, record.trajectory_id)))
    return table


def _print(shown: object) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width to fit into
    console.print(shown)


@contextmanager
def _writing(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is there whole or not at all."""
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
    """What makes a trajectory of a row: the format, and what the flags say."""
    told = settings.model_dump(
        include={"owner", "model", "environment", "reward"}, exclude_none=True
    )
    read = FORMATS[settings.format].read
    whole = settings.format == "jsonl"

    def read_row(row: object) -> Trajectory:
        trajectory = read(row)
        if whole:
            return trajectory.model_copy(update=told)
        owner = settings.owner or LOCAL_OWNER
        named = {"id": content_id(row, owner), "owner": owner}
        return trajectory.model_copy(update=named | told)

    return read_row


async def _delete(store: Store, ids: list[str]) -> list[bool]:
    return [await store.delete(one, None) for one in ids]
