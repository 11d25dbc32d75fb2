from collections.abc import Callable
from pathlib import Path

import pytest

from agentlm.agent.tool import ToolContext
from agentlm.tools.settings import ToolSettings
from agentlm.tools.sql.sample_database import sample_database


@pytest.fixture(scope="session")
def chinook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_database(tmp_path_factory.mktemp("chinook"))


@pytest.fixture
def make_settings(tmp_path: Path, chinook: Path) -> Callable[..., ToolSettings]:
    sql = f"sqlite:///{chinook}"
    return lambda **changed: ToolSettings(**{"data_dir": tmp_path, "sql_url": sql, **changed})


@pytest.fixture
def context() -> ToolContext:
    return ToolContext(trajectory_id="traj_1", owner="me")
