"""The tiny model as fine-tuning finds it: in a data directory's registry, and as its renderer."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlm.prompt.render import Renderer
from support.finetune_logs import registered, renderer


@pytest.fixture
def data_dir(tmp_path: Path, chatml_llama: Path) -> Path:
    registered(tmp_path, chatml_llama)
    return tmp_path


@pytest.fixture(scope="session")
def by(chatml_llama: Path) -> Renderer:
    return renderer(chatml_llama)
