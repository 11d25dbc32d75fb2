"""`agentlm data check`: what a run would take from files, without training.

The rows go through the same stages as in `agentlm finetune --data`, with the same settings, so what
is counted here is what would be trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from agentlm.finetune.data.dataset import Row
from agentlm.finetune.data.pipeline import MALFORMED, Pipeline
from agentlm.finetune.data.prepare import in_form, row_maker
from agentlm.finetune.data.sources import agent_pipelines, file_rows
from agentlm.finetune.data_settings import CheckData
from agentlm.finetune.filters.drops import KINDS, Drops, example_lines
from agentlm.finetune.report.sample import marked
from agentlm.finetune.settings import FinetuneSettings
from agentlm.models.registry import Registry
from agentlm.printable import say
from agentlm.prompt.render import Renderer


@dataclass
class Checked:
    """What a file contains."""

    drops: Drops = field(default_factory=Drops)
    tokens: int = 0
    trained: int = 0
    samples: list[Row] = field(default_factory=list)

    def refusal(self, most_malformed: float) -> str | None:
        """Why a run would not take the file, or None."""
        malformed, rows = self.drops.counts[MALFORMED], self.drops.rows
        if malformed > most_malformed * rows:
            return (
                f"{malformed:,} of {rows:,} rows can't be read, and only {most_malformed:.0%} may "
                "be so (--max-malformed)"
            )
        return None if self.drops.kept else "no row is left"


def check(settings: CheckData) -> int:
    """Check each file. Returns the exit code."""
    run = FinetuneSettings(
        **settings.model_dump(exclude={"files", "show", "max_malformed"}),
        max_malformed=1.0,  # the whole file is checked
    )
    registry = Registry(run.prepare_data_dir())
    base = in_form(registry.resolve(registry.get(settings.base)), run)
    maker = row_maker(run, base, registry)
    pipeline = agent_pipelines(run, maker)[1]
    good = True
    for name in settings.files:
        checked = _check(name, run, pipeline, settings.show)
        refusal = checked.refusal(settings.max_malformed)
        good = good and refusal is None
        for line in _lines(name, checked, refusal, maker.renderer):
            say(line)
    return 0 if good else 1


def _check(name: str, settings: FinetuneSettings, pipeline: Pipeline, show: int) -> Checked:
    checked = Checked()
    for kept in pipeline.run(file_rows((name,), settings, checked.drops), checked.drops):
        checked.tokens += len(kept.row.ids)
        checked.trained += kept.row.loss.count(1)
        if len(checked.samples) < show:
            checked.samples.append(kept.row)
    return checked


def _lines(name: str, checked: Checked, refusal: str | None, renderer: Renderer) -> Iterator[str]:
    drops = checked.drops
    yield f"{name}: {drops.summary()}"
    yield f"  {checked.tokens:,} tokens, {checked.trained:,} of them trained on"
    if refusal:
        yield f"  a run would not take this file: {refusal}"
    for kind, count in drops.scrubbed.items():
        yield f"  scrubbed: {kind} ({count:,} times)"
    for line in example_lines(drops.to_json(), KINDS):
        yield f"  {line}"
    for row in checked.samples:
        arrays = np.array(row.ids, np.int32), np.frombuffer(row.loss, np.uint8)
        yield f"\n{row.name}:\n{marked(arrays, renderer.decode_verbatim)}"
