"""A checkpoint that can't be read is said in one line, with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentlm.errors import OperatorError
from agentlm.finetune.data.mixture import Plan
from agentlm.finetune.run import Run
from agentlm.finetune.settings import FinetuneSettings
from agentlm.finetune.training.processes import Processes
from agentlm.finetune.training.train import train


class Quiet:
    """Progress that nobody looks at."""

    def skip(self, tokens: float) -> None: ...

    def report(self, metrics: Mapping[str, float]) -> None: ...


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("failed finding it\nframe 1")])
def test_a_torn_checkpoint_is_said(tmp_path: Path, error: Exception) -> None:
    class Engine:
        def load_checkpoint(self, *_: Any, **__: Any) -> None:
            raise error

    run = Run(tmp_path / "torn")
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "latest").touch()
    plan = Plan(np.empty((0, 2), np.int64), np.empty(0, np.int64))

    with pytest.raises(OperatorError) as caught:
        train(Engine(), (), plan, FinetuneSettings(), run, Processes(0, 1), Quiet())
    reason = str(error).split("\n")[0] or "AssertionError"
    assert str(caught.value) == (
        f"the last checkpoint of torn can't be read ({reason}); if it is damaged, delete "
        f"{run.checkpoints} to begin again with the first step"
    )
