"""The recipes that come with AgentLM: `--config agentlm-7b` means the shipped file of that name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path


def shipped_recipes() -> dict[str, Path]:
    """The recipe files by name."""
    directory = Path(str(files("agentlm.finetune").joinpath("recipes")))
    return {path.stem: path for path in sorted(directory.glob("*.yaml"))}


def with_shipped_recipe(argv: Sequence[str]) -> list[str]:
    """The arguments, with `--config NAME` of a shipped recipe replaced by its file."""
    words = [part for word in argv for part in _parts(word)]
    for index, word in enumerate(words[1:], 1):
        if words[index - 1] == "--config" and not Path(word).exists():
            words[index] = str(shipped_recipes().get(word, word))
    return words


def _parts(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--config=") else [word]
