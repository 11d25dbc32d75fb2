"""`--dry-run`: everything of a run except its size, on a tiny model of the base's kind, without a
result.

The recipe's data is read, filtered, tokenised and mixed with the base's own tokenizer and template.
Two steps of the recipe's batches are packed and trained with its ZeRO stage and offload. The result
is saved and read back. What would fail after an hour of a large run fails here in minutes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agentlm.files import alone
from agentlm.finetune.settings import DEFAULT_BASE, FinetuneSettings
from agentlm.finetune.training.processes import Processes
from agentlm.models.registry import Registry

STEPS = 2
LAYERS, WIDTH, HEADS = 2, 64, 4


@contextmanager
def shrunken(settings: FinetuneSettings, processes: Processes) -> Iterator[FinetuneSettings]:
    """The same settings for a tiny base in a directory that is removed afterwards."""
    directory = settings.data_dir / "runs" / ".dry-run"
    lock = alone(
        directory.with_name(".dry-run.lock"), f"another dry run goes on in {directory}: wait for it"
    )
    with ExitStack() as held:
        processes.once(lambda: held.enter_context(lock))
        processes.once(lambda: _set_up(settings, directory))
        try:
            yield settings.model_copy(
                update={
                    "data_dir": directory,
                    "store_url": settings.log_url(),
                    "base": "dry-run-base",
                    "name": "dry-run",
                    "max_steps": min(STEPS, settings.max_steps or STEPS),
                }
            )
        finally:
            processes.once(lambda: shutil.rmtree(directory))


def _set_up(settings: FinetuneSettings, directory: Path) -> None:
    """A data directory with a tiny base that has the real one's architecture, vocabulary and
    template."""
    registry = Registry(settings.prepare_data_dir())
    files = registry.resolve(registry.get(settings.base or DEFAULT_BASE))
    shutil.rmtree(directory, ignore_errors=True)
    _shrink(files.directory, directory / "base")
    card = files.card.model_copy(
        update={
            "name": "dry-run-base",
            "parent": files.card.name,
            "source": "local",
            "location": str(directory / "base"),
            "adapter": None,
            "base": None,
        }
    )
    Registry(directory).add(card)


def _shrink(directory: Path, into: Path) -> None:
    """Random weights of the same kind, with the model's own tokenizer and template."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(directory)
    grouped = config.num_attention_heads // (config.num_key_value_heads or 1)
    config.update(
        {
            "num_hidden_layers": LAYERS,
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_attention_heads": HEADS,
            "num_key_value_heads": max(1, HEADS // grouped),
            "head_dim": WIDTH // HEADS,
        }
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(into)
    for file in directory.iterdir():
        text = file.suffix in (".json", ".jinja", ".model", ".txt")
        if text and "safetensors" not in file.name and not (into / file.name).exists():
            shutil.copy(file, into)
