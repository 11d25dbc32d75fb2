"""The sources of a run's mixture: agent rows of the log and of files, general rows beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from agentlm.errors import OperatorError
from agentlm.exchange import to_agentinstruct
from agentlm.finetune.dataset import Rows, RowWriter
from agentlm.finetune.drops import Drops
from agentlm.finetune.files import Malformed, read_rows
from agentlm.finetune.mixture import Source
from agentlm.finetune.pipeline import Kept, Pipeline, judging_filters, remembering_filters
from agentlm.finetune.rows import RowMaker
from agentlm.finetune.run import Run
from agentlm.finetune.selection import LogRows
from agentlm.finetune.settings import FinetuneSettings
from agentlm.trajectory import Trajectory

AGENT = "agent"


class General(NamedTuple):
    """One source of general rows, as `--general` names it."""

    location: str
    """A file, a hub data set, or `log`."""
    weight: float


def parse_general(text: str) -> General:
    """`FILE` or `FILE=WEIGHT`. Raises OperatorError for a weight that is no positive number."""
    location, _, weight = text.partition("=")
    try:
        parsed = General(location, float(weight or 1))
    except ValueError:
        parsed = General(location, 0)
    if not parsed.weight > 0:
        raise OperatorError(f"--general {text}: the weight must be a number above 0")
    return parsed


def write_agent_rows(run: Run, settings: FinetuneSettings, maker: RowMaker, log: LogRows) -> Drops:
    """Write the agent rows, and export them as AgentInstruct.

    Raises OperatorError if there are none.
    """
    drops = log.drops if settings.from_logs else Drops()
    remembering = remembering_filters(settings)
    judging = judging_filters(settings.min_reward, settings)
    of_log = Pipeline(judging, settings.scrub, settings.min_reward, maker, remembering)
    of_files = Pipeline({}, settings.scrub, None, maker, remembering)
    files = _counted(chain.from_iterable(map(read_rows, settings.data)), drops)
    logged = log.rewarded() if settings.from_logs else iter(())
    with (run.directory / "agentinstruct.jsonl").open("w") as exported:
        for kept in _write(
            run, AGENT, chain(of_log.run(logged, drops), of_files.run(files, drops))
        ):
            row = to_agentinstruct(kept.trajectory, kept.trained)
            exported.write(json.dumps(row, ensure_ascii=False) + "\n")
    drops.check()
    return drops


def write_general_rows(
    run: Run, settings: FinetuneSettings, maker: RowMaker, log: LogRows
) -> dict[str, Drops]:
    """Write the rows of each general source, and the weights of all sources of the mixture.

    Every answer in them is trained on, judged or not.
    """
    sources = [parse_general(text) for text in settings.general]
    total = sum(source.weight for source in sources)
    mixture = {AGENT: settings.eta if sources else 1.0}
    found: dict[str, Drops] = {}
    uncapped = settings.model_copy(update={"max_per_task": None})
    for index, source in enumerate(sources):
        name = f"general-{index}"
        rows = log.chats() if source.location == "log" else read_rows(source.location)
        pipeline = Pipeline({}, settings.scrub, None, maker, remembering_filters(uncapped))
        drops = found[name] = Drops()
        for _ in _write(run, name, pipeline.run(_counted(rows, drops), drops)):
            pass
        if drops.kept:
            mixture[name] = (1 - settings.eta) * source.weight / total
    run.write("mixture.json", mixture)
    return found


def _write(run: Run, name: str, kept: Iterable[Kept]) -> Iterator[Kept]:
    with RowWriter(run.directory / name) as writer:
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


def open_sources(run: Run) -> list[Source]:
    """The token rows of a run, memory-mapped."""
    return [
        Source(name, Rows.open(run.directory / name), weight)
        for name, weight in run.read("mixture.json").items()
    ]
