"""The sources of a run's mixture: agent rows from the log and from files, and general rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from math import inf
from typing import NamedTuple

from pydantic_core import to_json

from agentlm.errors import OperatorError
from agentlm.exchange import to_agentinstruct
from agentlm.exchange.files import Malformed, read_rows, read_single, within_limit
from agentlm.exchange.preferences import read_judged
from agentlm.finetune.data.dataset import BUFFER, Rows, RowWriter
from agentlm.finetune.data.mixture import Source
from agentlm.finetune.data.negatives import Tools, ToolSets, with_negatives
from agentlm.finetune.data.parsed import parsed
from agentlm.finetune.data.pipeline import (
    Apart,
    Kept,
    Pipeline,
    content_filters,
    imitated,
    recorded_filters,
    remembering_filters,
)
from agentlm.finetune.data.rewarded.stages import as_judged, rewarded_pipeline
from agentlm.finetune.data.rows import RowMaker
from agentlm.finetune.data.selection import LogRows
from agentlm.finetune.filters.dedupe import NEAR_DUPLICATE
from agentlm.finetune.filters.drops import Drops
from agentlm.finetune.filters.judge import Asker, rehearsed
from agentlm.finetune.filters.rules import plain_text
from agentlm.finetune.run import Run
from agentlm.finetune.settings import FinetuneSettings, GeneralLoss
from agentlm.trajectory import Trajectory

AGENT = "agent"
REHEARSE = "rehearse:"


class General(NamedTuple):
    """One source of general rows, from `--general`."""

    location: str
    """A file, a hub data set, or `log`."""
    weight: float


def parse_general(text: str) -> General:
    """`FILE`, or `FILE=WEIGHT` if it ends in a number. Raises OperatorError unless it is
    positive."""
    location, _, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        return General(text, 1)
    if not 0 < weight < inf:
        raise OperatorError(f"--general {text}: the weight must be a number above 0")
    return General(location, weight)


def write_agent_rows(
    run: Run,
    settings: FinetuneSettings,
    maker: RowMaker,
    log: LogRows,
    tools: ToolSets,
    note: Callable[[Kept], None],
) -> Drops:
    """Write the agent rows, export them as AgentInstruct, remember their tools, `note` each.

    Rows that are learned from by their reward are judged later. Raises OperatorError if there are
    none.
    """
    drops = log.drops if settings.from_logs else Drops()
    of_log, of_files = agent_pipelines(settings, maker)
    logged: Iterable[Trajectory | Malformed] = log.rewarded() if settings.from_logs else ()
    files: Iterable[Trajectory | Malformed] = file_rows(settings.data, settings, drops)
    if settings.method != "sft":
        logged, files = (as_judged(rows, settings, drops) for rows in (logged, files))
    all_kept = chain(of_log.run(logged, drops), of_files.run(files, drops))
    with (run.directory / "agentinstruct.jsonl").open("wb", BUFFER) as exported:
        for kept in _write(run, AGENT, all_kept):
            note(kept)
            tools.add(kept.trajectory.tools)
            row = to_agentinstruct(kept.trajectory, kept.trained)
            exported.write(to_json(row) + b"\n")
    drops.check()
    return drops


def agent_pipelines(settings: FinetuneSettings, maker: RowMaker) -> tuple[Pipeline, Pipeline]:
    """The pipelines for rows of the log and for rows of files.

    Near duplicates are removed only from the log. Rows of a file are there on purpose: those of one
    classification share a long instruction and differ in a few words.
    """
    if settings.method != "sft":
        pipeline = _of_turns(rewarded_pipeline(settings, maker))
        return pipeline, pipeline
    remembering = remembering_filters(settings)
    for_files = {name: judge for name, judge in remembering.items() if name != NEAR_DUPLICATE}
    content = content_filters(settings)
    of_log, of_files = (
        _of_turns(
            Pipeline(
                recorded_filters(settings, unjudged=unjudged) | content,
                settings.scrub,
                imitated(settings, unjudged=unjudged),
                maker,
                memory,
            )
        )
        for unjudged, memory in ((False, remembering), (True, for_files))
    )
    return of_log, of_files


def _of_turns(pipeline: Pipeline) -> Pipeline:
    """The pipeline for rows that somebody says, by whatever method they are learned from."""
    return replace(pipeline, judging={"plain_text": plain_text, **pipeline.judging})


def file_rows(
    names: Iterable[str], settings: FinetuneSettings, drops: Drops
) -> Iterator[Trajectory | Malformed]:
    """The rows of agent files, each counted as seen.

    Raises OperatorError at the end of a file with too many unreadable rows.
    """
    reader = read_judged if settings.method in ("dpo", "kto") else read_single
    for name in names:
        rows = read_rows(name, settings.read_columns(), reader)
        limited = within_limit(rows, name, settings.max_malformed)
        yield from _counted(map(parsed, limited), drops)


def write_general_rows(
    run: Run,
    settings: FinetuneSettings,
    maker: RowMaker,
    rows_of: Callable[[str], Iterable[Trajectory | Malformed]],
    apart: Apart,
) -> dict[str, Drops]:
    """Write the rows of each general source, and the weights of all sources of the mixture.

    Every answer in them is trained on, unless it got a low reward. Rows that `apart` refuses are
    measured on.
    """
    sources = [parse_general(text) for text in settings.general]
    total = sum(source.weight for source in sources)
    mixture = {AGENT: settings.eta if sources else 1.0}
    drops_by_source: dict[str, Drops] = {}
    uncapped = settings.model_copy(update={"max_per_task": None})
    recorded = recorded_filters(settings, unjudged=True)
    for index, source in enumerate(sources):
        name = f"general-{index}"
        remembering = remembering_filters(uncapped)
        marks = imitated(settings, unjudged=True)
        pipeline = Pipeline(recorded, settings.scrub, marks, maker, remembering, apart)
        drops = drops_by_source[name] = Drops()
        rows = _counted(rows_of(source.location), drops)
        for _ in _write(run, name, pipeline.run(rows, drops)):
            pass
        if drops.kept:
            mixture[name] = (1 - settings.eta) * source.weight / total
    run.write("mixture.json", mixture)
    return drops_by_source


def general_rows(
    location: str,
    settings: FinetuneSettings,
    log: LogRows,
    base: str,
    tools: Sequence[Tools],
    *,
    thoughts: bool,
) -> Iterator[Trajectory | Malformed]:
    """The rows of a general source; if requested, rehearsed, or some of them with tools."""
    plain = location.removeprefix(REHEARSE)
    rows: Iterable[Trajectory | Malformed] = log.chats()
    if plain != "log":
        rows = read_rows(plain, settings.read_columns())
        rows = within_limit(rows, plain, settings.max_malformed)
    if plain != location and settings.publish:
        rows = rehearsed(rows, Asker(settings.publish, base, settings.api_key), settings.seed)
    share, seed = settings.no_tool_share, settings.seed
    return with_negatives(rows, tools, share, seed, thoughts=thoughts)


def _write(run: Run, name: str, kept: Iterable[Kept]) -> Iterator[Kept]:
    with closing(RowWriter(run.directory / name)) as writer:
        for one in kept:
            writer.add(one.row)
            yield one


def _counted(
    rows: Iterable[Trajectory | Malformed], drops: Drops
) -> Iterator[Trajectory | Malformed]:
    """The rows, each counted as seen."""
    for row in rows:
        drops.rows += 1
        yield row


def open_sources(run: Run, general_loss: GeneralLoss = "imitate") -> list[Source]:
    """The token rows of a run, memory-mapped."""
    distills = general_loss == "distill"
    return [
        Source(name, Rows.open(run.directory / name), weight, distills and name != AGENT)
        for name, weight in run.read("mixture.json").items()
    ]
