"""Every shipped recipe begins with its command, and says what the command understands."""

from __future__ import annotations

import shlex

import pytest

from agentlm.finetune.recipes import shipped_recipes, with_shipped_recipe
from agentlm.finetune.settings import FinetuneSettings
from agentlm.settings import parse


def test_all_sizes_have_a_recipe() -> None:
    sizes = ["agentlm-135m", "agentlm-13b", "agentlm-70b", "agentlm-7b", "smollm2-135m"]
    assert list(shipped_recipes()) == sizes


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_is_understood_by_the_command_it_begins_with(name: str) -> None:
    first = shipped_recipes()[name].read_text().splitlines()[0]
    words = shlex.split(first.removeprefix("# "))
    flags = words[words.index("finetune" if "finetune" in words else "agentlm.finetune") + 1 :]

    settings = parse(FinetuneSettings, with_shipped_recipe(flags), "agentlm finetune")

    settings.check()
    assert settings.base is not None


def test_a_recipe_is_found_however_its_name_is_given() -> None:
    path = str(shipped_recipes()["agentlm-7b"])

    assert with_shipped_recipe(["--config=agentlm-7b", "--full"]) == ["--config", path, "--full"]
    assert with_shipped_recipe(["--config=mine.yaml"]) == ["--config", "mine.yaml"]


@pytest.mark.parametrize(("size", "lr"), [("7b", 5e-5), ("13b", 5e-5), ("70b", 1e-5)])
def test_the_papers_recipe_is_the_papers(size: str, lr: float) -> None:
    flags = with_shipped_recipe(["--config", f"agentlm-{size}"])
    settings = parse(FinetuneSettings, flags, "agentlm finetune")

    assert settings.full
    assert settings.peak_lr == lr
    assert (settings.eta, settings.warmup, settings.weight_decay, settings.clip) == (
        0.2,
        0.02,
        0.1,
        1,
    )
    assert settings.batch_tokens == 64 * settings.max_length == 64 * 4096
    assert settings.max_steps == 2000
