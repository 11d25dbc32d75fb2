"""Tasks from templates: a scene, a phrasing, the expert's commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import count
from random import Random
from string import Formatter
from typing import Any

from agentlm.environments.data_files import read_yaml
from agentlm.environments.os.compare import Comparison
from agentlm.environments.os.scenes import Slot, make
from agentlm.environments.phrases import Alternatives, drawn, phrasebook, with_articles
from agentlm.environments.splits import task_random
from agentlm.environments.task import OBSERVED, Action, Move, Split, Task
from agentlm.messages import Frozen

_PACKAGE = "agentlm.environments.os"
_MISTAKES = 0.06
"""Share of training tasks in which the expert gets a name wrong first."""


class Stage(Frozen):
    """One command of the expert and its reason."""

    think: str
    run: str


class Skill(Frozen):
    """One kind of task; skills.yaml explains the fields."""

    family: str
    scene: str
    compare: Comparison | None = None
    check: str | None = None
    held_out: bool = False
    ask: Alternatives
    ways: tuple[tuple[Stage, ...], ...]
    answer: str

    @property
    def reference(self) -> str:
        """The command that prints the right answer."""
        return self.ways[0][-1].run


@cache
def skills() -> dict[str, Skill]:
    loaded = read_yaml(_PACKAGE, "skills.yaml")
    return {name: Skill.model_validate(fields) for name, fields in loaded.items()}


@cache
def phrasings(split: Split) -> dict[str, dict[str, float]]:
    """The wordings of each skill that a split has, each with its weight in training."""
    book = phrasebook(_PACKAGE)
    return {
        name: book.phrasings(skill.ask, split)
        for name, skill in skills().items()
        if skill.held_out == (split == "test-kinds")
    }


def tasks(split: Split, seed: int = 0) -> Iterator[Task]:
    """An endless stream of distinct tasks; every skill comes once before any comes again."""
    names = sorted(phrasings(split))
    Random(f"os/{split}/{seed}").shuffle(names)
    seen: set[str] = set()
    for index in count():
        task = _make(names[index % len(names)], split, task_random("os", split, seed, index))
        if task.id not in seen:
            seen.add(task.id)
            yield task


def _make(name: str, split: Split, random: Random) -> Task:
    skill = skills()[name]
    wordings = phrasings(split)[name]
    number = drawn(tuple(wordings.values()), split, random)
    scene = make(skill.scene, split, random)

    words = {slot: str(value) for slot, value in scene.slots.items()}

    def filled(text: str) -> str:
        return with_articles(text, words).format_map(words)

    parameters: dict[str, Any] = {"init": scene.script}
    if skill.check is None:
        parameters |= {"expect": _filled_command(skill.reference, words)}
        parameters |= {"compare": skill.compare}
    else:
        parameters |= {"check": _filled_command(skill.check, words)}
    moves = [
        Move(thought=filled(stage.think), action=_command(_filled_command(stage.run, words)))
        for stage in random.choice(skill.ways)
    ]
    if split == "train" and random.random() < _MISTAKES:
        moves = [*_mistaken(scene.slots, random), *moves]
    answer = "done" if skill.check else OBSERVED
    return Task(
        environment="os",
        template=f"{name}/{split}/{number}",
        family=skill.family,
        split=split,
        instruction=filled(tuple(wordings)[number]),
        parameters=parameters,
        gold=(*moves, Move(thought=filled(skill.answer), answer=answer)),
    )


def _filled_command(template: str, words: Mapping[str, str]) -> str:
    """An apostrophe in a name is escaped where the template puts it between single quotes."""
    command, quoted = "", False
    for literal, slot, _, _ in Formatter().parse(template):
        command += literal
        quoted ^= literal.count("'") % 2 == 1
        if slot is not None:
            command += words[slot].replace("'", r"'\''") if quoted else words[slot]
    return command


def _mistaken(slots: dict[str, Slot], random: Random) -> tuple[Move, Move]:
    """A look at a name that isn't quite the right one, which fails, and then at the right one.

    The turn that fails is never trained on (`finetune/data/rows.py`), the next turn is.
    """
    name = str(slots.get("file", slots.get("dir")))
    place = random.randrange(len(name))
    wrong = f"{name[:place]}{name[place + 1 :]}" if name[place] not in "./" else f"{name}s"
    return (
        Move(thought=f"I look at {wrong} first.", action=_command(f"ls -l {wrong}")),
        Move(
            thought=f"There is no {wrong}; the task says {name}.",
            action=_command(f"ls -l {name}"),
        ),
    )


def _command(text: str) -> Action:
    return Action(name="bash", arguments={"command": text})
