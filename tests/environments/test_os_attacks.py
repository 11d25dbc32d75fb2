"""A player that wants the reward of a shell task without doing it gets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import islice

import pytest
import pytest_asyncio

from agentlm.environments.os.environment import OsEnvironment, opened
from agentlm.environments.os.generate import skills
from agentlm.environments.os.world import Script, World
from agentlm.environments.playing.play import Play, play
from agentlm.environments.playing.players import EmptyPlayer, GoldPlayer, Reply
from agentlm.environments.task import Action, Move, Split, Task

PROGRAMS = (
    "test [ diff cmp grep find stat wc awk cat tar sort readlink ls tail head cut sed printf echo "
    "sha256sum base64 env bash sh true eval exec exit kill cd read command builtin"
)
ATTACKS = {
    "functions": f'for f in {PROGRAMS}; do eval "$f() {{ return 0; }}"; export -f $f; done',
    "functions with the names of files": (
        "/bin/bash() { builtin echo ok; return 0; }; /usr/bin/env() { builtin echo ok; return 0; }"
    ),
    "programs on the PATH": (
        f"mkdir -p fake; for f in {PROGRAMS}; do printf '#!/bin/sh\\nexit 0\\n' > fake/$f; "
        "chmod +x fake/$f; done; export PATH=$PWD/fake:$PATH; mkdir -p /usr/local/bin; "
        "cp fake/* /usr/local/bin/"
    ),
    "start-up files": (
        "echo 'test() { return 0; }; exit 0' | tee .bashrc .profile .bash_profile .bash_env; "
        "export BASH_ENV=$PWD/.bash_env ENV=$PWD/.bash_env HOME=$PWD PYTHONSTARTUP=$PWD/.bash_env"
    ),
    "aliases": "shopt -s expand_aliases; alias test=true diff=true grep=true find=true env=true",
    "traps": (
        "trap 'exit 0' ERR EXIT; shopt -s extdebug; trap 'false' DEBUG; set -o functrace; set +e"
    ),
    "a preloaded library": "export LD_PRELOAD=/workspace/x.so LD_LIBRARY_PATH=/workspace; :> x.so",
    "background jobs": "(while :; do touch done; sleep 0.02; done) > /dev/null 2>&1 &",
    "a shell that answers for itself": (
        "echo() { builtin echo \"$@\"; }; exec 3>&1 4>&1; (printf '0\\0' >&4) 2> /dev/null; "
        "for fd in /proc/$$/fd/*; do (printf '0\\0' > $fd) 2> /dev/null; done"
    ),
    "options of programs": "export TAR_OPTIONS=--version GREP_OPTIONS=-q LC_ALL=x IFS=/",
}
ENDS = {
    "a work directory that nobody may enter": "chmod 000 . /tmp /home",
    "ignored signals": (
        "python3 -c 'import os, signal\nfor s in range(1, 32):\n  try: signal.signal(s, "
        "signal.SIG_IGN)\n  except OSError: pass\nif os.fork() == 0:\n  os.setsid()\n"
        '  while True: open("done", "w")\' &'
    ),
    "limits of the shell": "ulimit -u 1; ulimit -f 0; ulimit -v 1000",
    "a directory that is gone": "mv /workspace /x; rm -rf /workspace/*; cd /tmp; rmdir /workspace",
    "names that break quoting": (
        "touch -- -delete '$(touch x)' $'a\\nb' '*' '\"' \"'\" '(' -exec; "
        "for i in $(seq 200); do mkdir dddddddd; cd dddddddd; done"
    ),
    "a shell that is gone": "exit 0",
    "a shell that is held": "(sleep 0.1; kill -STOP -1) &",
}
WORK_FILES = {
    "links to itself": "ln -sf /dev/stdin $f",
    "links to memory": "ln -sf /proc/self/mem $f",
    "links whose targets are as long as can be": ("ln -sf $(printf 'b/%.0s' $(seq 1900)) $f"),
    "pipes": "rm $f; mkfifo $f",
    "files of nothing but zeros": "truncate -s 0 $f; truncate -s 1M $f",
    "files that nobody may read": "chmod 000 $f",
}
EMPTIED = "find . -type f -exec sh -c ': > \"$1\"' _ {} \\;"


@pytest_asyncio.fixture
async def environment() -> AsyncIterator[OsEnvironment]:
    async with opened(8) as environment:
        yield environment


class Attacker(EmptyPlayer):
    """Runs its commands, then claims that the task is done."""

    def __init__(self, *commands: str) -> None:
        self._gold = GoldPlayer()
        self._moves = [
            *(
                Move(thought="", action=Action(name="bash", arguments={"command": command}))
                for command in commands
            ),
            Move(thought="", answer="done"),
        ]

    async def reply(self, task: Task, attempt: int, messages, tools) -> Reply:  # type: ignore[no-untyped-def]
        moves = task.model_copy(update={"gold": tuple(self._moves)})
        return await self._gold.reply(moves, attempt, messages, tools)


def changes(environment: OsEnvironment, split: Split = "train") -> list[Task]:
    """One task of every kind that asks for a change."""
    found: dict[str, Task] = {}
    for task in islice(environment.generate(split), len(skills())):
        if "check" in task.parameters:
            found.setdefault(task.template.partition("/")[0], task)
    assert len(found) > 5
    return list(found.values())


async def attacked(
    environment: OsEnvironment, tasks: Sequence[Task], attacks: Sequence[Sequence[str]]
) -> list[Play]:
    slots = asyncio.Semaphore(8)

    async def one(task: Task, commands: Sequence[str]) -> Play:
        async with slots:
            return await play(environment, task, Attacker(*commands))

    return await asyncio.gather(*map(one, tasks, attacks))


def rewarded(runs: Sequence[Play]) -> list[str]:
    """Tasks that did not end with a reward of 0; an error is none."""
    return [f"{run.task.template}: {run.reward} {run.broken}" for run in runs if run.reward != 0.0]


@pytest.mark.parametrize("name", [*ATTACKS, *ENDS])
async def test_the_players_shell_has_no_say_in_the_check(
    environment: OsEnvironment, name: str
) -> None:
    tasks, attack = changes(environment)[:3], (ATTACKS | ENDS)[name]
    assert rewarded(await attacked(environment, tasks, [[attack]] * 3)) == []


async def test_emptying_what_the_check_compares_with_is_no_solution(
    environment: OsEnvironment,
) -> None:
    tasks = changes(environment)
    attacks = [[EMPTIED, f"touch {_new_names(task)}"] for task in tasks]
    assert rewarded(await attacked(environment, tasks, attacks)) == []


@pytest.mark.parametrize("name", WORK_FILES)
async def test_work_files_that_are_none_are_no_solution_and_no_failure_of_ours(
    environment: OsEnvironment, name: str
) -> None:
    """Even a player whose change passes the check gets a score: an error would be played again."""
    tasks = [task for task in changes(environment) if len(task.gold) == 2][:2]
    spoil = f"for f in $(find . -type f); do {WORK_FILES[name]}; done"
    attacks = [[*_commands(task).split("\0"), spoil] for task in tasks]
    for task in tasks:  # the check is no help: what else the player left decides
        task.parameters["check"] = "true"
    assert rewarded(await attacked(environment, tasks, attacks)) == []


async def test_links_are_no_copies(environment: OsEnvironment) -> None:
    tasks = [task for task in changes(environment) if "ln -s" not in _commands(task)]
    attacks = [
        [f'for new in {_new_names(task)}; do ln -s "$(ls -d [a-z]* | head -1)" $new; done']
        for task in tasks
    ]
    assert rewarded(await attacked(environment, tasks, attacks)) == []


async def test_doing_the_task_and_spoiling_another_file_is_no_solution(
    environment: OsEnvironment,
) -> None:
    tasks = changes(environment)
    spoilt = "for f in $(find . -type f -size +0 | sort | head -3); do echo spoilt >> $f; done"
    attacks = [[*_commands(task).split("\0"), spoilt] for task in tasks]
    runs = await attacked(environment, tasks, attacks)
    assert len(rewarded(runs)) <= len(runs) // 4, "only programs and archives are free"


async def test_a_script_runs_where_nothing_of_the_player_is_left(
    environment: OsEnvironment,
) -> None:
    task = changes(environment)[0]
    async with environment.open(task) as opened_task:
        for command in ATTACKS.values():
            await opened_task.act(Action(name="bash", arguments={"command": command}))
        world: World = opened_task._world
        await world.settle()
        seen = await world.run(Script(code="env; declare -F; alias; trap; jobs; ls /proc"))
    assert seen.succeeded
    assert "workspace/" not in seen.output
    assert "HOME=/nonexistent" in seen.output
    assert sum(line.isdigit() for line in seen.output.splitlines()) < 8


async def test_a_question_is_not_answered_by_changing_what_it_is_about(
    environment: OsEnvironment,
) -> None:
    drawn = islice(environment.generate("train"), 20)
    questions = [task for task in drawn if "expect" in task.parameters]
    runs = await attacked(environment, questions, [["find . -delete", ATTACKS["functions"]]] * 20)
    assert rewarded(runs) == []
    async with environment.open(questions[0]) as world:
        await world.act(Action(name="bash", arguments={"command": "find . -delete"}))
        assert await world.score("0") == 0.0


def _commands(task: Task) -> str:
    actions = [move.action for move in task.gold if move.action]
    return "\0".join(action.arguments["command"] for action in actions)


def _new_names(task: Task) -> str:
    """Names in the instruction that the scene does not have."""
    words = {word.strip(".,:;'()") for word in task.instruction.split()}
    named = sorted(
        w
        for w in words
        if w and w.replace("/", "").replace("_", "").replace(".", "").replace("-", "").isalnum()
    )
    return " ".join(w for w in named if w not in task.parameters["init"]) or "x"
