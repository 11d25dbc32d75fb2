"""The two passes of a run that learns from rewards.

The first pass writes every row that could be learned from, and remembers what is needed to judge
it. When all rows are there, the second pass computes the value of each in comparison with the
others, and leaves out those that can't be compared.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import closing

import numpy as np

from agentlm.finetune.data.dataset import Judged, Row, Rows, RowWriter
from agentlm.finetune.data.pipeline import Kept
from agentlm.finetune.data.rewarded import groups, pairs, thumbs
from agentlm.finetune.data.rewarded.candidates import Candidate, Chosen, Verdicts
from agentlm.finetune.filters.drops import Drops
from agentlm.finetune.run import Run
from agentlm.finetune.settings import FinetuneSettings


class Judging:
    """The candidates of one run."""

    def __init__(self, settings: FinetuneSettings, ages: Mapping[str, int]) -> None:
        self._settings = settings
        self._ages = ages
        self._candidates: list[Candidate] = []

    def add(self, kept: Kept) -> None:
        """Remember the next row."""
        match self._settings.method:
            case "grpo":
                self._candidates.append(groups.candidate(kept, self._ages))
            case "dpo":
                self._candidates.append(pairs.candidate(kept))
            case _:
                self._candidates.append(thumbs.candidate(kept))

    def write(self, run: Run, name: str, drops: Drops) -> None:
        """Replace the rows by those that are learned from, and describe them in rewards.json.

        Raises OperatorError if there are none.
        """
        whole, rest = run.directory / name, run.directory / f"{name}-rest"
        rows = Rows.open(whole)
        names = list(rows.names())
        verdicts = self._verdicts(rows)
        for index, refused in verdicts.left_out.items():
            drops.add(names[index], refused)
            drops.kept -= 1
        drops.check()
        with closing(RowWriter(rest)) as writer:
            for unit, chosen in enumerate(verdicts.units):
                for one in chosen:
                    writer.add(self._row(rows, names[one.row], one, unit))
        shutil.rmtree(whole)
        rest.rename(whole)
        run.write("rewards.json", self._summary(verdicts))

    def _verdicts(self, rows: Rows) -> Verdicts:
        settings = self._settings
        match settings.method:
            case "grpo":
                return groups.judge(self._candidates)
            case "dpo":
                return pairs.judge(
                    self._candidates, rows, settings.min_reward, settings.max_per_task
                )
            case _:
                return thumbs.judge(self._candidates)

    def _row(self, rows: Rows, name: str, chosen: Chosen, unit: int) -> Row:
        row = rows.token_row(chosen.row)
        loss = row.loss.copy()
        loss[: chosen.trained_from] = 0
        credit = np.full(len(loss), chosen.value, np.float32)
        for step, share in chosen.shares:
            credit[step.start : step.end] *= share
        age = self._candidates[chosen.row].age
        assert row.recorded is not None, "the first pass wrote it"
        # Others than the base in 4 bits have said what is recorded: it is computed anew.
        whole = self._settings.quantize == "none"
        recorded = row.recorded if whole else np.full_like(row.recorded, np.nan)
        judged = Judged(recorded, credit, unit, chosen.pair, age)
        return Row(name, row.ids.tolist(), loss.tobytes(), judged)

    def _summary(self, verdicts: Verdicts) -> dict[str, object]:
        chosen = [self._candidates[one.row] for unit in verdicts.units for one in unit]
        return {
            "method": self._settings.method,
            "units": len(verdicts.units),
            "rows": len(chosen),
            "mean_reward": float(np.mean([one.reward for one in chosen])),
            "rows_by_age": dict(sorted(Counter(one.age for one in chosen).items())),
        }
