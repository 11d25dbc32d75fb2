"""Tasks from templates: a scene, a phrasing, the expert's commands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count
from random import Random
from typing import Any

from agentlm.environments.data_files import read_yaml
from agentlm.environments.os.compare import Comparison
from agentlm.environments.os.scenes import make
from agentlm.environments.splits import task_random
from agentlm.environments.task import OBSERVED, Action, Move, Split, Task
from agentlm.messages import Frozen


class Stage(Frozen):
    """One command of the expert and its reason."""

    think: str
    run: str


class Skill(Frozen):
    """One kind of task; skills.yaml explains the fields."""

    family: str
    scene: str
    expect: str | None = None
    compare: Comparison | None = None
    check: str | None = None
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    steps: tuple[Stage, ...]
    answer: str

    def phrasings(self, split: Split) -> tuple[str, ...]:
        """Its wordings in one split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]


@cache
def skills() -> dict[str, Skill]:
    """All skills by name."""
    loaded = read_yaml("agentlm.environments.os", "skills.yaml")
    return {name: Skill.model_validate(fields) for name, fields in loaded.items()}


def tasks(split: Split, seed: int = 0) -> Iterator[Task]:
    """An endless stream of distinct tasks; every skill comes once before any comes again."""
    names = sorted(skills())
    Random(f"os/{split}/{seed}").shuffle(names)
    seen: set[str] = set()
    for index in count():
        task = _make(names[index % len(names)], split, task_random("os", split, seed, index))
        if task.id not in seen:
            seen.add(task.id)
            yield task


def _make(name: str, split: Split, random: Random) -> Task:
    skill = skills()[name]
    number = random.randrange(len(skill.phrasings(split)))
    scene = make(skill.scene, split, random)

    def filled(text: str) -> str:
        return text.format_map(scene.slots)

    parameters: dict[str, Any] = {"init": scene.script}
    if skill.check is None:
        parameters |= {"expect": filled(skill.expect or ""), "compare": skill.compare}
    else:
        parameters |= {"check": filled(skill.check)}
    moves = [
        Move(
            thought=filled(stage.think),
            action=Action(name="bash", arguments={"command": filled(stage.run)}),
        )
        for stage in skill.steps
    ]
    answer = "done" if skill.check else OBSERVED
    return Task(
        environment="os",
        template=f"{name}/{split}/{number}",
        family=skill.family,
        split=split,
        instruction=filled(skill.phrasings(split)[number]),
        parameters=parameters,
        gold=(*moves, Move(thought=filled(skill.answer), answer=answer)),
    )
