from collections.abc import Callable
from pathlib import Path

import pytest

from agentlm.agent import ToolContext
from agentlm.tools.settings import ToolSettings


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., ToolSettings]:
    return lambda **changed: ToolSettings(data_dir=tmp_path, **changed)


@pytest.fixture
def context() -> ToolContext:
    return ToolContext(trajectory_id="traj_1", owner="me")
