"""The command line: what it shows, and how it ends."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agentlm import cli
from agentlm.commands import approvals, data, keys, models
from agentlm.commands.logs import main as logs
from agentlm.errors import ConflictError, OperatorError
from agentlm.install import CHECKOUT, install, source


def run_and_raise(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(argv: list[str]) -> int:
        raise error

    monkeypatch.setitem(sys.modules, "failing", SimpleNamespace(fail=fail))
    monkeypatch.setitem(cli.COMMANDS, "fail", cli.Command("failing:fail", "train", "fails"))
    return cli.main(["fail"])


@pytest.mark.parametrize(
    ("error", "code", "message"),
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
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_and_raise(error, monkeypatch) == code
    assert capsys.readouterr().err == message


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
    output = capsys.readouterr().out
    assert all(f"  {name} " in output for name in cli.COMMANDS)
    assert set(re.findall(r"^  agentlm (\w+)", output, re.M)) <= cli.COMMANDS.keys()
    assert cli.main([]) == 2
    assert cli.main(["--version"]) == 0


def test_help_cuts_no_sentence_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--help"]) == 0
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) < 80
    summaries = re.split(r"\n  (?=[a-z])", output.partition("commands:\n")[2].rstrip())
    assert all(summary.endswith(".") for summary in summaries)


PYTHON = re.compile(r"None|True|False|\(\)|\{\}|dict\[|tuple|list\[|<\w+\.|Path\(|default: [(){\[]")


def test_an_install_is_advised_that_exists() -> None:
    """No index has the package; its checkout is where it was installed from."""
    assert (Path(source()) / "pyproject.toml").is_file() or source() == CHECKOUT


WITHOUT_EXTRAS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import PathFinder

allowed, runs = map(json.loads, sys.argv.pop().splitlines())

class OnlyTheClient(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        extra = spec and "site-packages" in str(spec.origin) and name.split(".")[0] not in allowed
        return None if extra else spec

sys.meta_path[:] = [OnlyTheClient if it is PathFinder else it for it in sys.meta_path]

from agentlm.cli import main

results = []
for argv in runs:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as ended:
            code = ended.code
    results.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


@cache
def modules_of_the_client() -> list[str]:
    """The modules that are there when AgentLM is installed without any extra."""
    packages: set[str] = set()
    pending = {"agentlm"}
    while pending:
        package = pending.pop()
        packages.add(package)
        for requirement in map(Requirement, distribution(package).requires or ()):
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}):
                pending |= {canonicalize_name(requirement.name)} - packages
    return [
        module
        for module, names in packages_distributions().items()
        if packages & set(map(canonicalize_name, names))
    ]


def run_without_extras(*runs: Sequence[str]) -> list[tuple[int, str, str]]:
    """The exit code, output and errors of each command, in one process that has no extra."""
    argument = f"{json.dumps(modules_of_the_client())}\n{json.dumps(runs)}"
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, argument],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [(code, out, err) for code, out, err in json.loads(ran.stdout)]


SUBCOMMANDS = {
    "models": models.COMMANDS,
    "logs": logs.COMMANDS,
    "keys": keys.COMMANDS,
    "approvals": approvals.COMMANDS,
    "data": data.COMMANDS,
}


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself_and_its_flags_without_any_extra(command: str) -> None:
    names = [[command], *([command, name] for name in SUBCOMMANDS.get(command, ()))]
    wrong = [*names[-1], "--data-dir"]  # without a value
    *helps, refusal = run_without_extras(*([*name, "--help"] for name in names), wrong)
    for name, (code, output, errors) in zip(names, helps, strict=True):
        assert (code, errors) == (0, "")
        assert f"usage: agentlm {' '.join(name)}" in output
        assert not PYTHON.search(output)
    assert refusal == (2, "", "agentlm: --data-dir: expected one argument\n")


def test_help_begins_with_what_the_command_is_about() -> None:
    first = {"serve": "--model", "eval": "--env", "rollout": "--env", "wheel": "--env"}
    helps = run_without_extras(*([name, "--help"] for name in first))
    for (_, output, _), flag in zip(helps, first.values(), strict=True):
        assert re.findall(r"^  (--[\w-]+)", output, re.MULTILINE)[0] == flag


NEEDY = {
    "serve": ["serve"],
    "mcp": ["mcp"],
    "data": ["data", "check", "rows.jsonl"],
    "finetune": ["finetune", "--data", "rows.jsonl"],
    "rollout": ["rollout", "--env", "db", "--player", "gold"],
    "eval": ["eval", "--model", "m"],
    "wheel": ["wheel", "--env", "db"],
    "reproduce": ["reproduce"],
}


@pytest.mark.parametrize("command", NEEDY)
def test_a_command_whose_extra_is_missing_says_how_to_install_it(
    command: str, tmp_path: Path
) -> None:
    [(code, output, errors)] = run_without_extras(
        [*NEEDY[command], "--data-dir", str(tmp_path / "data")]
    )
    assert (code, output) == (2, "")
    missing = rf"agentlm: {command} needs the package \w+: "
    assert re.search(missing + re.escape(install(cli.COMMANDS[command].extra)), errors)
