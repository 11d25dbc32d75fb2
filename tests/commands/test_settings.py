"""Where settings come from, and what is said of wrong ones."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import CliPositionalArg

from agentlm.errors import OperatorError
from agentlm.settings import Settings, parse, parse_known


class Play(Settings):
    """Play a game.

    With an example.
    """

    name: CliPositionalArg[str]
    """What to play."""
    port: int = Field(8000, le=65535)
    """TCP port."""
    tools: tuple[str, ...] = ()
    """Names of tools."""


def refusal(*argv: str) -> str:
    with pytest.raises(OperatorError) as caught:
        parse(Play, argv, "agentlm play")
    return str(caught.value)


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "play.yaml"
    config.write_text("port: 1\nstore-url: sqlite://\ndata_dir: /file\n")
    monkeypatch.setenv("AGENTLM_PORT", "2")
    monkeypatch.setenv("AGENTLM_DATA_DIR", "/environment")
    played = parse(Play, ["chess", "--config", str(config), "--port", "3"], "agentlm play")
    assert (played.port, played.data_dir) == (3, Path("/environment"))
    assert (played.store_url, played.tools) == ("sqlite://", ())


def test_lists_are_given_by_commas_or_by_repeating_the_flag() -> None:
    by_commas = parse(Play, ["go", "--tools", "a,b"], "agentlm play")
    assert parse(Play, ["go", "--tools", "a", "--tools", "b"], "agentlm play") == by_commas


def test_the_home_directory_is_found_behind_a_tilde() -> None:
    assert parse(Play, ["go", "--data-dir", "~/x"], "agentlm play").data_dir == Path.home() / "x"


def test_an_unknown_flag_names_the_nearest() -> None:
    assert refusal("go", "--prt=3") == "unknown argument --prt=3; did you mean --port?"


def test_unknown_flags_can_be_passed_on() -> None:
    played, rest = parse_known(Play, ["go", "--swap-space", "4", "--port", "3"], "agentlm play")
    assert (played.port, rest) == (3, ["--swap-space", "4"])


def test_every_wrong_setting_has_a_line_that_says_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "play.yaml"
    config.write_text("tols: [a]\n")
    monkeypatch.setenv("AGENTLM_PORT", "x")
    lines = refusal("go", "--config", str(config)).splitlines()
    assert [line.split(":")[0] for line in lines] == ["AGENTLM_PORT", f"unknown argument {config}"]
    assert lines[1].endswith("tols; did you mean " + str(config) + ": tools?")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--port", "3"], "the following arguments are required: NAME"),
        (["go", "--port"], "--port: expected one argument"),
        (["go", "--config", "/nowhere.yaml"], "--config /nowhere.yaml: No such file or directory"),
        (["go", "chess"], "unknown argument chess; --help lists what is known"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(argv: list[str], message: str) -> None:
    assert refusal(*argv) == message


def test_help_speaks_the_words_of_the_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(Play, ["--help"], "agentlm play")
    output = capsys.readouterr().out
    assert ended.value.code == 0
    assert "usage: agentlm play NAME [OPTIONS]\n" in output
    assert "Play a game.\n\nWith an example.\n" in output
    assert "--tools A,B" in output
    assert "None" not in output


def test_a_data_directory_that_cannot_be_written_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="can't be written: Not a directory"):
        Settings(data_dir=tmp_path / "file" / "below").prepare_data_dir()


def test_commands_that_begin_at_once_do_not_take_a_data_directory_for_unwritable(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as commands:
        found = list(commands.map(lambda _: settings.prepare_data_dir(), range(2000)))
    assert set(found) == {tmp_path}
    assert not list(tmp_path.iterdir())
