"""A model leaves the house as a folder that says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from agentlm.cli import main
from agentlm.models.model_files import ADAPTER_WEIGHTS
from agentlm.models.registry import Registry

Models = Callable[..., tuple[int, str]]


@pytest.fixture
def models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Models:
    def run(*argv: str) -> tuple[int, str]:
        code = main(["models", *argv, "--data-dir", str(tmp_path / "data")])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture
def trained(models: Models, chatml_llama: Path, tmp_path: Path) -> str:
    """An adapter with the files of a run beside it."""
    import torch
    from safetensors.torch import save_file

    lora = tmp_path / "adapter"
    lora.mkdir()
    (lora / "adapter_config.json").write_text(json.dumps({"r": 1, "lora_alpha": 1}))
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    matrices = {"A": torch.ones(1, 64), "B": torch.ones(64, 1)}
    save_file(
        {f"{prefix}.lora_{name}.weight": matrix for name, matrix in matrices.items()},
        lora / ADAPTER_WEIGHTS,
    )
    assert models("add", "tiny", "--path", str(chatml_llama))[0] == 0
    registry = Registry(tmp_path / "data")
    run = tmp_path / "data" / "runs" / "next"
    run.mkdir(parents=True)
    recipe = {"method": "grpo", "from_logs": True, "data": ["/home/ann/more.jsonl"]}
    verdict = {
        "candidate": "next",
        "incumbent": "tiny",
        "passed": True,
        "gain": 0.12,
        "reasons": [],
    }
    found = {"agent": {"summary": "9 rows; left out: none; kept 9"}}
    for name, value in (("recipe", recipe), ("selection", found), ("gate", verdict)):
        (run / f"{name}.json").write_text(json.dumps(value))
    tiny = registry.get("tiny")
    training = {"run": str(run), "rows": 9, "parent_weights": tiny.weights_version}
    changed = {"name": "next", "parent": "tiny", "base": "tiny", "adapter": str(lora)}
    registry.add(tiny.model_copy(update={**changed, "training": training}))
    return "next"


def test_a_folder_has_weights_template_and_a_card_that_names_data_gate_and_licence(
    models: Models, trained: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    code, output = models("export", trained, str(folder), "--license", "apache-2.0")

    assert code == 0, output
    names = {file.name for file in folder.iterdir()}
    assert {ADAPTER_WEIGHTS, "adapter_config.json", "tokenizer.json", "README.md"} <= names
    assert "chat_template.jinja" in names
    assert "model.safetensors" not in names
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "license": "apache-2.0",
        "base_model": "tiny",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["agent", "agentlm"],
    }
    for words in (
        "next ← tiny",
        "method: grpo",
        "the log, more.jsonl",
        "9 rows; left out: none; kept 9",
        "Passed against tiny: +12.0%",
    ):
        assert words in text
    assert "/home" not in text


def test_a_merged_adapter_is_a_model_of_its_own_that_came_from_it(
    models: Models, trained: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    before = Registry(tmp_path / "data").get(trained)
    code, output = models("merge", trained, "whole")

    assert code == 0, output
    card = Registry(tmp_path / "data").get("whole")
    assert (card.adapter, card.base, card.parent) == (None, None, "next")
    assert (card.training or {})["parent_weights"] == before.weights_version
    name = "model.layers.0.self_attn.q_proj.weight"
    theirs = load_file(Path(Registry(tmp_path / "data").get("tiny").location) / "model.safetensors")
    ours = load_file(Path(card.location) / "model.safetensors")
    assert (ours[name] - theirs[name] - 1).abs().max() < 1e-5
    code, output = models("export", "whole", str(tmp_path / "out"), "--license", "other")
    assert code == 0, output
    assert "library_name: transformers" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("export", "tiny", "{new}"), "which licence tiny has is not known: give --license"),
        (("export", "tiny", "{there}", "--license", "mit"), "is there already"),
        (("merge", "tiny", "whole"), "tiny is not an adapter: there is nothing to merge"),
        (("merge", "next", "tiny"), "another model is already called tiny"),
        (("merge", "next", "../out"), "can't be a model's name"),
    ],
)
def test_what_can_not_be_written_is_refused_and_leaves_nothing(
    models: Models, trained: str, tmp_path: Path, argv: tuple[str, ...], words: str
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_text("mine")
    places = {"new": str(tmp_path / "new"), "there": str(there)}

    code, output = models(*(word.format(**places) for word in argv))

    assert code == 2
    assert words in output
    assert not (tmp_path / "new").exists()
    assert [file.name for file in there.iterdir()] == ["file"]


def test_a_base_that_says_its_licence_is_believed(
    models: Models, chatml_llama: Path, tmp_path: Path
) -> None:
    import shutil

    base = tmp_path / "base"
    shutil.copytree(chatml_llama, base)
    (base / "README.md").write_text("---\nlicense: llama2\n---\n# Base\n")
    models("add", "mine", "--path", str(base))

    code, output = models("export", "mine", str(tmp_path / "out"))

    assert code == 0, output
    assert "license: llama2" in (tmp_path / "out" / "README.md").read_text()
    assert "It was not trained here." in (tmp_path / "out" / "README.md").read_text()


def test_a_hub_that_is_not_reached_leaves_the_folder(
    models: Models, chatml_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    models("add", "mine", "--path", str(chatml_llama))

    code, output = models(
        "export", "mine", str(tmp_path / "out"), "--license", "mit", "--push", "org/mine"
    )

    assert code == 2
    assert "org/mine can't be put on the hub (no route to the hub); the folder" in output
    assert (tmp_path / "out" / "README.md").is_file()
