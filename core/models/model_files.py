"""What a model directory has to contain, and what can be read from it without loading the model."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from agentlm.errors import OperatorError
from agentlm.models.cards import ModelCard

ADAPTER_WEIGHTS = "adapter_model.safetensors"
TRAINED_ON = "trained_on.json"
"""Beside an adapter that was trained here: the digest of the weights that it changes."""


def weight_files(directory: Path) -> list[Path]:
    """The files with a model's weights, in a stable order.

    Raises OperatorError if there are none, or if the index names one that is missing.
    """
    for index, pattern in (
        ("model.safetensors.index.json", "*.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model*.bin"),
    ):
        weights = sorted(directory.glob(pattern))
        if (directory / index).is_file():
            named = set(read_json(directory / index)["weight_map"].values())
            missing = sorted(named - {file.name for file in weights})
            if missing:
                raise OperatorError(f"{directory} lacks weight files: {', '.join(missing)}")
            return [directory / name for name in sorted(named)]
        if weights:
            return weights
    raise OperatorError(f"{directory} has no weights: no *.safetensors, no pytorch_model*.bin")


def check_model(directory: Path) -> None:
    """Raises OperatorError if the directory has no model in transformers' format."""
    if not directory.is_dir():
        raise OperatorError(f"there is no directory {directory}")
    if not (directory / "config.json").is_file():
        raise OperatorError(f"{directory} is not a model directory: it has no config.json")
    weight_files(directory)


def check_adapter(directory: Path) -> None:
    """Raises OperatorError if the directory has no adapter in PEFT's format."""
    for name in ("adapter_config.json", ADAPTER_WEIGHTS):
        if not (directory / name).is_file():
            raise OperatorError(f"{directory} is not an adapter directory: it has no {name}")


def card_template(card: ModelCard, directory: Path) -> str:
    """The card's chat template as jinja text: the one it names, or else its tokenizer's.

    Raises OperatorError if there is none.
    """
    if card.template is not None:
        return shipped_template(card.template)
    text = directory / "chat_template.jinja"
    if text.is_file():
        return text.read_text()
    config = directory / "tokenizer_config.json"
    template = read_json(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):
        template = {named["name"]: named["template"] for named in template}.get("default")
    if not isinstance(template, str):
        raise OperatorError(
            f"the model {card.name} brings no chat template: add it under a name of your own with "
            f"--template, one of {', '.join(shipped_templates())}"
        )
    return template


def shipped_templates() -> list[str]:
    """Names of the chat templates that come with AgentLM."""
    names = (file.name for file in files("agentlm").joinpath("templates").iterdir())
    return sorted(name.removesuffix(".jinja") for name in names if name.endswith(".jinja"))


def shipped_template(name: str) -> str:
    """A chat template that comes with AgentLM. Raises OperatorError for an unknown name."""
    if name not in shipped_templates():
        known = ", ".join(shipped_templates())
        raise OperatorError(f"unknown chat template {name!r}; known: {known}")
    return files("agentlm").joinpath("templates", f"{name}.jinja").read_text()


def shipped_adapter(name: str) -> Path:
    """The directory of an adapter that comes with AgentLM."""
    return Path(str(files("agentlm").joinpath("adapters", name)))


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises OperatorError if it can't be read as one."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise OperatorError(f"{path} should hold a JSON object, not a {type(value).__name__}")
    return value
