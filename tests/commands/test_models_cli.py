"""`agentlm models` as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlm.cli import main

Models = Callable[..., tuple[int, str]]


@pytest.fixture
def models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Models:
    def run(*argv: str) -> tuple[int, str]:
        code = main(["models", *argv, "--data-dir", str(tmp_path / "data")])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_a_directory_gets_a_name_and_loses_it_again(models: Models, chatml_llama: Path) -> None:
    code, output = models(
        "add", "mine", "--path", str(chatml_llama), "--system-prompt", "Be brief."
    )
    assert code == 0, output
    code, card_json = models("show", "mine", "--json")
    card = json.loads(card_json)
    assert (card["location"], card["system_prompt"]) == (str(chatml_llama), "Be brief.")
    assert card["weights_version"] in output
    assert models("pull", "mine") == (0, f"mine is ready in {chatml_llama}\n")
    assert models("remove", "mine") == (0, "mine is forgotten\n")
    assert models("show", "mine")[0] == 2


def test_an_adapter_speaks_as_its_base(models: Models, chatml_llama: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_text("weights")
    models("add", "base", "--path", str(chatml_llama), "--template", "chatml", "--no-thoughts")
    code, output = models("add", "tuned", "--path", str(adapter), "--base", "base")
    assert code == 0, output
    card = json.loads(models("show", "tuned", "--json")[1])
    assert (card["base"], card["adapter"], card["template"]) == ("base", str(adapter), "chatml")
    assert card["thoughts"] is False


def test_the_list_is_a_table_or_lines_of_json(models: Models) -> None:
    assert "zai-org/agentlm-70b" in models("list")[1]
    lines = models("list", "--json")[1].splitlines()
    assert [json.loads(line)["name"] for line in lines][-2:] == ["smollm2-135m", "agentlm-135m"]


def test_a_data_directory_that_cannot_be_written_is_one_line(
    chatml_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    argv = ["models", "add", "x", "--path", str(chatml_llama)]
    assert main([*argv, "--data-dir", str(tmp_path / "file" / "data")]) == 2
    assert capsys.readouterr().err.endswith("can't be written: Not a directory\n")


def test_a_model_of_another_server_gets_a_name(models: Models) -> None:
    code, output = models(
        *("add", "teacher", "--upstream", "https://api.example.com/v1/"),
        *("--model", "gpt-9", "--api-key-env", "TEACHER_KEY"),
    )
    assert (code, output) == (
        0,
        "teacher is registered, https://api.example.com/v1; "
        "to serve it: agentlm serve --model teacher\n",
    )
    card = json.loads(models("show", "teacher", "--json")[1])
    assert (card["source"], card["upstream_model"]) == ("upstream", "gpt-9")
    assert card["api_key_env"] == "TEACHER_KEY"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--upstream", "ftp://host/v1"], "must be an http or https URL"),
        (["--upstream", "https://user:secret@host/v1"], "must have no password"),
        (["--upstream", "http://host/v1", "--path", "."], "one of --path and --upstream"),
        ([], "one of --path and --upstream"),
    ],
)
def test_what_is_no_model_is_refused(models: Models, flags: list[str], reason: str) -> None:
    code, output = models("add", "teacher", *flags)
    assert code == 2
    assert reason in output
