"""The prompt is frozen: models are trained on it, and a changed word makes them others."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles
from agentlm.prompt.digest import prompt_digest
from agentlm.server.models.engine_model import load_renderer


def test_the_grammars_words_are_those_that_models_were_trained_on() -> None:
    # Changing them makes every model that was trained here another: raise it on purpose only.
    assert prompt_digest() == "e554670d1899256b"
    assert prompt_digest(thoughts=False) == "fdfed8dd6af9fc89"


@pytest.mark.parametrize(
    ("digest", "warns"), [(None, False), (prompt_digest(), False), ("x", True)]
)
def test_a_model_of_another_prompt_is_served_with_a_warning(
    chatml_llama: Path, caplog: pytest.LogCaptureFixture, digest: str | None, warns: bool
) -> None:
    card = ModelCard(name="tiny", source="local", location=str(chatml_llama), prompt_digest=digest)
    with caplog.at_level(logging.WARNING, "agentlm.server"):
        load_renderer(ModelFiles(card, chatml_llama))

    assert ("trained with another prompt" in caplog.text) is warns
