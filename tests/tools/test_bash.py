import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from agentlm.agent.tool import ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bash import Bash, BashArgs

MakeSettings = Callable[..., ToolSettings]


class Run:
    def __init__(self, bash: Bash) -> None:
        self.bash = bash

    async def __call__(self, command: str, trajectory: str = "traj_1") -> str:
        context = ToolContext(trajectory_id=trajectory, owner="me")
        return await self.bash.run(BashArgs(command=command), context)


@pytest.fixture
async def run(make_settings: MakeSettings) -> AsyncIterator[Run]:
    settings = make_settings(tool_timeout_s=1.5, bash_disk_mb=8, bash_shells=2)
    bash = await Bash.open(settings)
    yield Run(bash)
    await bash.close()


async def test_it_runs_a_command(run: Run) -> None:
    assert await run("echo hello; echo there >&2") == "hello\nthere"


async def test_the_shell_keeps_directory_variables_and_jobs(run: Run) -> None:
    await run("mkdir inner; cd inner; name=value; sleep 60 &")
    assert await run("pwd; echo $name; pgrep -c sleep") == "/workspace/inner\nvalue\n1"


async def test_the_shell_keeps_whatever_else_can_be_defined(run: Run) -> None:
    await run(
        "list=(1 '2  3'); declare -A map=([a b]=c); declare -i sum=1+1; declare -x SEEN=$'x\ny'; "
        'greet() { echo "hi $1"; }; exported() { :; }; export -f exported; umask 027; '
        "shopt -s nullglob expand_aliases; alias hello='greet you'; set -o pipefail; set -- a b"
    )
    assert await run(
        'echo "${list[1]} ${map[a b]} $sum $#"; greet me; bash -c exported; umask'
    ) == ("2  3 c 2 0\nhi me\n0027")
    assert await run("hello; echo none*; false | true || printenv SEEN") == "hi you\n\nx\ny"


async def test_the_shell_keeps_how_the_last_command_ended(run: Run) -> None:
    await run("sh -c 'exit 9'")
    assert await run("echo $?; ! true") == "9\n[exit code 1]"
    assert await run("echo $?; set -e") == "1"
    assert await run("echo $?") == "0"


async def test_no_option_of_the_shell_keeps_it_from_going_on(run: Run) -> None:
    for options in ("set -C", "set -u", "set -f", "set -x; set +x", "set -o posix; set +o posix"):
        await run(f"{options}; kept=1")
        assert await run("echo $kept; false") == "1\n[exit code 1]"


async def test_options_that_were_turned_off_stay_off_whatever_separates_words(run: Run) -> None:
    await run("shopt -u sourcepath; set +o braceexpand; IFS=:")
    assert await run("shopt -q sourcepath || echo off; echo {a,b}") == "off\n{a,b}"


async def test_a_command_can_signal_the_shell_that_evaluates_it(run: Run) -> None:
    await run("true")
    assert await run("trap 'echo caught' USR1; kill -USR1 $$; [ $$ = $BASHPID ]") == "caught"


async def test_what_belongs_to_a_process_ends_with_its_command(run: Run) -> None:
    await run("sleep 60 & trap 'echo x' EXIT USR1; set -- a; exec 7</dev/null; ulimit -n 100")
    assert await run('jobs; trap -p; echo "$!$#"; ls /proc/self/fd | wc -l; ulimit -n') == (
        "0\n4\n256"
    )
    assert await run("pkill -x -c sleep; trap 'echo bye' EXIT; exit 3") == (
        "1\nbye\n[exit code 3]\n[the shell has ended; your next command gets a new one]"
    )


async def test_signals_that_the_server_ignores_reach_what_a_command_starts(
    make_settings: MakeSettings,
) -> None:
    ignored = {number: signal.signal(number, signal.SIG_IGN) for number in (1, 2)}
    try:
        bash = await Bash.open(make_settings())
        assert (await Run(bash)("trap; sleep 9 & kill -HUP $!; wait $!; echo $?")).endswith("\n129")
        await bash.close()
    finally:
        for number, handler in ignored.items():
            signal.signal(number, handler)


async def test_a_shell_whose_state_is_too_large_to_be_kept_says_that_it_ends(run: Run) -> None:
    output = await run("x=$(head -c 5000000 /dev/zero | tr '\\0' x); false")
    assert (
        output
        == "(no output)\n[exit code 1]\n[the shell has ended; your next command gets a new one]"
    )
    assert (await run("echo ${#x}")).endswith("\n0")


@pytest.mark.parametrize("name", ["builtin", "eval", "exec", "exit", "read", "set", "unset", "."])
async def test_a_function_of_any_name_is_only_the_commands_own(run: Run, name: str) -> None:
    await run(f"{name}() {{ echo wrong; }}; x=1")
    assert await run("(exit 3) || echo $x") == "1" if name != "exit" else "1"


async def test_aliases_change_neither_functions_nor_the_shell(run: Run) -> None:
    names = "alias builtin set shopt declare : exit"
    await run(
        f"shopt -s expand_aliases; f() {{ echo hi; }}; set -u; for n in {names}; do "
        "alias $n='wrong ('; done; alias echo='echo more' kept='printf kept'"
    )
    await run("x=1")
    assert await run("f; kept; printf ' %s' $x $-") == "hi\nkept 1 huB"


async def test_conversations_do_not_see_each_other(run: Run) -> None:
    await run("echo secret > file; x=1")
    assert await run("ls; echo x=$x", "traj_2") == "x="


async def test_silence_and_failure_are_said_in_words(run: Run) -> None:
    assert await run("false") == "(no output)\n[exit code 1]"
    assert await run("true") == "(no output)"


async def test_a_syntax_error_leaves_the_shell_usable(run: Run) -> None:
    assert "[exit code 2]" in await run("echo 'never closed")
    assert await run("echo fine") == "fine"


async def test_binary_and_broken_text_are_safe_to_show(run: Run) -> None:
    assert await run("head -c 300 /dev/zero") == "(300 bytes of binary data)"
    assert await run(r"printf 'caf\xc3\xa9 \xff \e[31mred\e[0m'") == "café \ufffd red"


async def test_long_output_loses_its_middle_and_says_so(run: Run) -> None:
    output = await run("seq 1 100000")
    assert output.startswith("1\n2\n")
    assert output.endswith("99999\n100000")
    assert "bytes left out" in output
    assert len(output) < 17_000


async def test_nothing_can_be_typed_in(run: Run) -> None:
    assert await run("cat; read line; echo $?") == "1"


async def test_the_deadline_kills_the_whole_tree(run: Run) -> None:
    with pytest.raises(ToolError, match=r"before[\s\S]*did not finish within 1\.5 s"):
        await run("echo before; (setsid sleep 77 &); sleep 77")
    output = await run("ps -e -o args | grep -c '[s]leep 77'")
    assert "a new shell was started because it did not finish" in output
    assert "\n0\n" in output


async def test_cancelling_the_call_kills_the_command(run: Run) -> None:
    await run("true")
    call = asyncio.create_task(run("sleep 60"))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert "its command was cancelled" in await run("echo on")


async def test_an_exited_shell_is_replaced_and_files_stay(run: Run) -> None:
    assert "[exit code 3]" in await run("echo kept > file; exit 3")
    output = await run("cat file")
    assert "exited with code 3" in output
    assert output.endswith("kept")


async def test_only_so_many_shells_live_and_the_oldest_goes_first(run: Run) -> None:
    for trajectory in ("traj_1", "traj_2", "traj_3"):
        await run("x=1", trajectory)
    assert await run("echo $x", "traj_3") == "1"
    assert "a new shell was started" in await run("echo x=$x", "traj_1")


async def test_memory_is_bounded_over_all_processes_together(make_settings: MakeSettings) -> None:
    bash = await Bash.open(make_settings(bash_memory_mb=128))
    eat = "/usr/bin/python3 -c 'import time; x = bytearray(80 << 20); time.sleep(20)'"
    with pytest.raises(ToolError, match="more than 128 MiB of memory together"):
        await Run(bash)(f"{eat} & {eat}")
    await bash.close()


async def test_the_work_directory_is_bounded_and_trimmed(run: Run) -> None:
    await run("echo precious > early")
    with pytest.raises(ToolError, match="more than 8 MiB"):
        await run("for i in 1 2 3; do head -c 4M /dev/urandom > big$i; done")
    assert "early" in await run("ls")
    assert await run("du -sm . | cut -f1") in ("4", "5", "8", "9")


async def test_a_fork_bomb_stays_inside(run: Run) -> None:
    with pytest.raises(ToolError):
        await run("bomb() { bomb | bomb & }; bomb; sleep 60")
    assert (await run("echo alive")).endswith("alive")


async def test_release_removes_the_files(run: Run, make_settings: MakeSettings) -> None:
    directory = make_settings().sandboxes_dir() / "traj_1"
    await run("mkdir -p a/b; echo x > a/b/file; chmod 0 a/b")
    assert directory.exists()
    await run.bash.release("traj_1")
    await run.bash.release("traj_1")
    assert not directory.exists()


async def test_closing_leaves_the_files_of_trajectories_and_nothing_else(
    make_settings: MakeSettings,
) -> None:
    bash = await Bash.open(make_settings())
    await Run(bash)("echo x > file; sleep 60 &")
    await bash.close()
    assert [path.name for path in make_settings().sandboxes_dir().iterdir()] == ["traj_1"]
    assert (make_settings().sandboxes_dir() / "traj_1/workspace/file").read_text() == "x\n"


async def test_a_machine_that_cannot_sandbox_is_told_at_start(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OperatorError, match="bubblewrap"):
        await Bash.open(make_settings())


async def test_unsafe_has_to_be_said_and_then_works_without_bubblewrap(
    make_settings: MakeSettings,
) -> None:
    bash = await Bash.open(make_settings(bash_sandbox="unsafe"))
    assert "sandboxes/traj_1/workspace" in await Run(bash)("pwd")
    await bash.close()
