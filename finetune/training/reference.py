"""Log-probabilities of a run's rows under the weights that the training starts from.

For rows without comparable records, `dpo` and `kto` use them instead. `grpo` trusts the record only
after a check: on the first batch both must agree, otherwise the ratios would compare models that
differ by more than the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agentlm.errors import OperatorError
from agentlm.files import sync
from agentlm.finetune.data.dataset import REFERENCE, Rows, TokenRow
from agentlm.finetune.data.mixture import Plan
from agentlm.finetune.settings import FinetuneSettings, Training
from agentlm.finetune.training.packing import pack
from agentlm.finetune.training.processes import Processes
from agentlm.finetune.training.zero import share_out

ROWS_AT_ONCE = 64
"""Neighbours have common beginnings; more rows at once would cost memory."""
TOLERANCE = {torch.float32: 0.01, torch.bfloat16: 0.05}
"""Allowed mean difference between recorded and recomputed log-probabilities of a token. Engines of
one precision agree to 1e-4 in float32, and to some hundredths in bfloat16."""


def establish(
    engine: Any, rows: Rows, plan: Plan, settings: FinetuneSettings, processes: Processes
) -> str | None:
    """Prepare what a method compares with. Returns a note. See `complete` and `check_record`."""
    match settings.method:
        case "sft":
            return None
        case "grpo":
            return check_record(engine, rows, plan, settings, processes)
        case _:
            complete(engine, rows, settings, processes)
            return None


def complete(engine: Any, rows: Rows, training: Training, processes: Processes) -> None:
    """Write reference.bin if any row needs it and it does not exist."""
    path = rows.directory / REFERENCE
    if rows.judged is None or path.exists():
        return
    unknown = [row for row in map(rows.token_row, range(len(rows))) if _unknown(row)]
    if not unknown:
        return
    values = log_probabilities(engine, rows, unknown, training, processes)
    if processes.first:
        partial = path.with_name(f".{path.name}.partial")
        values.tofile(partial)
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    processes.wait()


def _unknown(row: TokenRow) -> bool:
    return row.recorded is not None and bool(np.isnan(row.recorded).all())


def log_probabilities(
    engine: Any, rows: Rows, some: Sequence[TokenRow], training: Training, processes: Processes
) -> NDArray[np.float32]:
    """Log-probabilities of the trained ids of some rows, each at its index among the ids of all
    rows."""
    values = np.zeros(int(rows.lengths.sum()), np.float32)
    engine.eval()
    for begin in range(0, len(some), ROWS_AT_ONCE):
        # Here the rows of a pair need not be in one pack.
        block = [row._replace(pair=-1) for row in some[begin : begin + ROWS_AT_ONCE]]
        packs = list(pack(block, training.pack_tokens, share=training.share_prefixes))
        for laid in share_out(packs, processes):
            with torch.no_grad():
                values_of_pack = engine.module.log_probabilities(laid).cpu().numpy()
            row_tokens = laid.row_tokens
            starts = rows.table[laid.rows[row_tokens.row], 0]
            places = starts + laid.positions[laid.sources[row_tokens.token]] + 1
            values[places] = values_of_pack[row_tokens.token]
    engine.train()
    return processes.sum_all(values)


def check_record(
    engine: Any, rows: Rows, plan: Plan, training: Training, processes: Processes
) -> str:
    """Compare the record of the first batch with the base's values. Returns the result in words.

    Raises OperatorError if they differ by more than two engines do.
    """
    fresh = _fresh(rows, plan)
    if not fresh:
        return "no row is of the base's own weights: recorded log-probabilities are not checked"
    some = [rows.token_row(index) for index in fresh]
    computed = log_probabilities(engine, rows, some, training, processes)
    differences = [
        np.abs(computed[start : start + len(row.ids)] - row.recorded)[row.loss > 0]
        for row, start in zip(some, rows.table[fresh, 0], strict=True)
        if row.recorded is not None
    ]
    apart = np.concatenate(differences)
    most = TOLERANCE[next(engine.module.parameters()).dtype]
    words = (
        f"recorded and recomputed log-probabilities differ by {apart.mean():.2g} a token, at most "
        f"by {apart.max():.2g}"
    )
    if not apart.mean() <= most:
        raise OperatorError(
            f"{words}, over {len(apart)} tokens that the base itself is recorded to have said; "
            f"{most:g} is allowed: it was served with other weights, another precision or another "
            "template"
        )
    return words


def _fresh(rows: Rows, plan: Plan) -> list[int]:
    """Rows of the first batch that the base's own weights sampled, or else the first such rows."""
    if rows.judged is None:
        return []
    own = np.flatnonzero(rows.judged.table[:, 2] == 0)
    first = np.unique(plan.draws[: plan.ends[0], 1])
    fresh = np.intersect1d(first, own)
    return [int(index) for index in (fresh if len(fresh) else own[:ROWS_AT_ONCE])]
