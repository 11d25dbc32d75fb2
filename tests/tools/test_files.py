import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentlm.agent.tool import ToolContext
from agentlm.errors import NotFoundError, RequestError
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bash import Bash, BashArgs
from agentlm.tools.shell.files import WorkspaceFiles
from agentlm.tools.shell.pool import Shells
from agentlm.tools.shell.workspace import entries, excess_of, remove_whole, trim

MakeSettings = Callable[..., ToolSettings]


@pytest.fixture
def files(make_settings: MakeSettings) -> WorkspaceFiles:
    settings = make_settings(bash_disk_mb=1)
    return WorkspaceFiles(settings.sandboxes_dir() / "traj_1" / "workspace", settings)


async def test_files_go_in_before_the_first_command_and_come_out_after_it(
    files: WorkspaceFiles, make_settings: MakeSettings, context: ToolContext
) -> None:
    files.put("data/input.csv", b"a,b\n1,2\n")
    bash = await Bash.open(make_settings())
    output = await bash.run(BashArgs(command="tac data/input.csv | tee data/out.csv"), context)
    await bash.close()
    assert output == "1,2\na,b"
    assert [entry.path for entry in files.list()] == ["data/input.csv", "data/out.csv"]
    with files.open("data/out.csv") as file:
        assert file.read() == b"1,2\na,b\n"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", "a//b", "./x", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(files: WorkspaceFiles, name: str) -> None:
    with pytest.raises(RequestError):
        files.put(name, b"x")
    with pytest.raises(RequestError), files.open(name):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "a/" * 64 + "b",
        "a/" * 100 + "b",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "a\x1b[2Jb",
        "a\u202eb",
        "a\u2028b",
        "a\x7f",
        "a\x85",
        "a\udcffb",
        "a\ufffd",
        "d/" + "x" * 256,
        "é" * 128,
        "\u200b",
    ],
)
def test_a_name_that_nobody_could_work_with_is_refused_and_leaves_nothing(
    files: WorkspaceFiles, name: str
) -> None:
    with pytest.raises(RequestError):
        files.put(name, b"x")
    assert not files.workspace.exists() or list(files.workspace.parent.iterdir()) == [
        files.workspace
    ]


@pytest.mark.parametrize("name", ["a/" * 63 + "b", "naïve 日本.csv", "a\u202fb", "x" * 255, "-rf"])
def test_any_other_name_goes_in_and_is_listed(files: WorkspaceFiles, name: str) -> None:
    files.put(name, b"x")
    assert [entry.path for entry in files.list()] == [name]


def test_files_that_come_at_once_have_one_room(files: WorkspaceFiles) -> None:
    first, second = files.receive("first"), files.receive("second")
    with closing(first), closing(second):
        first.write(bytes(700_000))
        with pytest.raises(RequestError, match="too large"):
            second.write(bytes(700_000))
        first.keep()
        second.write(bytes(1000))
        second.keep()
        third = files.receive("third")
        with closing(third):
            third.write(bytes(300_000))
            (files.workspace / "meanwhile").write_bytes(bytes(300_000))
            with pytest.raises(RequestError, match="too large"):
                third.keep()
    assert [entry.path for entry in files.list()] == ["first", "meanwhile", "second"]


def test_what_a_killed_server_was_receiving_takes_no_room_for_ever(files: WorkspaceFiles) -> None:
    with closing(files.receive("left")) as left:
        left.write(bytes(700_000))
        [path] = files.workspace.parent.glob("incoming-*")
        os.utime(path, (0, 0))
        files.put("new", bytes(700_000))
    assert list(files.workspace.parent.iterdir()) == [files.workspace]


def test_directories_count_as_files_do(make_settings: MakeSettings) -> None:
    settings = make_settings(bash_files=4)
    files = WorkspaceFiles(settings.sandboxes_dir() / "traj_1" / "workspace", settings)
    with pytest.raises(RequestError, match="at most 4"):
        files.put("a/b/c/d/e", b"x")
    files.put("a/b/c", b"x")


def test_links_that_a_sandbox_left_are_not_followed(files: WorkspaceFiles, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    files.put("x", b"")
    (files.workspace / "link").symlink_to(outside / "secret")
    (files.workspace / "directory").symlink_to(outside)
    for name in ("link", "directory/secret"):
        with pytest.raises(RequestError), files.open(name):
            pass
    files.put("link", b"mine")
    with pytest.raises(RequestError):
        files.put("directory/new", b"x")
    assert (outside / "secret").read_text() == "secret"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert [entry.path for entry in files.list()] == ["link", "x"]


def test_a_pipe_is_not_waited_for(files: WorkspaceFiles) -> None:
    files.put("x", b"")
    os.mkfifo(files.workspace / "pipe")
    with pytest.raises(NotFoundError), files.open("pipe"):
        pass


def test_what_does_not_fit_is_refused_and_leaves_nothing(files: WorkspaceFiles) -> None:
    with pytest.raises(RequestError, match="are left"):
        files.put("big", bytes(2 << 20))
    assert files.list() == []


async def test_files_that_nobody_used_for_long_are_removed(make_settings: MakeSettings) -> None:
    settings = make_settings(bash_keep_h=1)
    old, new = (settings.sandboxes_dir() / name for name in ("traj_old", "traj_new"))
    for directory in (old, new):
        WorkspaceFiles(directory / "workspace", settings).put("x", b"x")
    os.utime(old, (0, time.time() - 7200))
    await Shells(settings).tidy()
    assert list(settings.sandboxes_dir().iterdir()) == [new]


def test_a_directory_nested_without_end_counts_as_too_much_and_is_removed(tmp_path: Path) -> None:
    (tmp_path / "keep").touch()
    (tmp_path / "/".join(["d"] * 70)).mkdir(parents=True)
    assert "nested" in str(excess_of(tmp_path, 10**9, 1000))
    trim(tmp_path, 10**9, 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o555, 0o111])
def test_directories_are_measured_trimmed_and_removed_whatever_their_owner_forbids(
    tmp_path: Path, mode: int
) -> None:
    inner = tmp_path / "work" / "a" / "b"
    inner.mkdir(parents=True)
    for number in range(5):
        (inner / str(number)).write_bytes(bytes(8192))
    deep = tmp_path / "work" / "/".join(["d"] * 70)
    deep.mkdir(parents=True)
    for directory in (inner, inner.parent, deep, deep.parent):
        directory.chmod(mode)

    trim(tmp_path / "work", 10**9, 5)
    left = list(entries(tmp_path / "work"))
    for directory in (inner, inner.parent):
        directory.chmod(mode)
    remove_whole(tmp_path / "work")

    assert len(left) == 5
    assert not any(tmp_path.iterdir())


def test_a_directory_that_becomes_a_link_while_we_look_is_not_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "work" / "q"
    for directory in (outside, inside):
        (directory / "w").mkdir(parents=True)
    (outside / "w" / "secret").touch()

    found = entries(tmp_path / "work")
    paths = [next(found).path]
    inside.rename(tmp_path / "gone")
    inside.symlink_to(outside)
    paths += [entry.path for entry in found]

    assert paths == ["q"]


def test_trimming_takes_the_newest_first(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / str(number)).write_bytes(bytes(8192))
    assert trim(tmp_path, 2 * 8192, 1000) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    assert trim(tmp_path, 10**9, 1) == 1
