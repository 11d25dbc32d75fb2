"""The command line: what it shows, and how it ends."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentlm import cli
from agentlm.errors import ConflictError, OperatorError
from agentlm.install import CHECKOUT, source


def run_and_raise(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(argv: list[str]) -> int:
        raise error

    monkeypatch.setitem(sys.modules, "failing", SimpleNamespace(fail=fail))
    monkeypatch.setitem(cli.COMMANDS, "fail", cli.Command("failing:fail", "train", "fails"))
    return cli.main(["fail"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OperatorError("a\nb"), 2, "agentlm: a\nagentlm: b\n"),
        (ConflictError("taken"), 2, "agentlm: taken\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ModuleNotFoundError("No module named 'deepspeed'", name="deepspeed.ops"),
            2,
            f"agentlm: fail needs the package deepspeed: pip install '{source()}[train]'\n",
        ),
    ],
)
def test_what_is_raised_on_purpose_ends_in_a_line_and_a_code(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_and_raise(error, monkeypatch) == code
    assert capsys.readouterr().err == said


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError):
        run_and_raise(ModuleNotFoundError(name="agentlm.nowhere"), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        run_and_raise(ZeroDivisionError(), monkeypatch)


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["modells"]) == 2
    assert capsys.readouterr().err == "agentlm: unknown command 'modells'; did you mean models?\n"
    assert cli.main(["bogus"]) == 2
    assert "did you mean" not in capsys.readouterr().err
    assert cli.main(["models", "lst"]) == 2
    assert "unknown command agentlm models lst; did you mean list?" in capsys.readouterr().err


def test_help_names_every_command_and_no_arguments_are_not_a_success(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)
    assert set(re.findall(r"^  agentlm (\w+)", shown, re.M)) <= cli.COMMANDS.keys()
    assert cli.main([]) == 2
    assert cli.main(["--version"]) == 0


def test_help_cuts_no_sentence_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) < 80
    summaries = re.split(r"\n  (?=[a-z])", shown.partition("commands:\n")[2].rstrip())
    assert all(summary.endswith(".") for summary in summaries)


PYTHON = re.compile(r"None|True|False|\(\)|\{\}|dict\[|tuple|list\[|<\w+\.|Path\(|default: [({\[]")
HEAVY = "'torch', 'vllm', 'transformers', 'deepspeed', 'fastapi'"


def test_an_install_is_advised_that_exists() -> None:
    """No index has the package; its checkout is where it was installed from."""
    assert (Path(source()) / "pyproject.toml").is_file() or source() == CHECKOUT


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself_without_loading_a_model_library(command: str) -> None:
    program = (
        "import sys\n"
        "from agentlm.cli import main\n"
        "try:\n"
        f"    code = main([{command!r}, '--help'])\n"
        "except SystemExit as ended:\n"
        "    code = ended.code\n"
        f"heavy = {{{HEAVY}}} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert f"usage: agentlm {command}" in shown.stdout
    assert not PYTHON.search(shown.stdout)
