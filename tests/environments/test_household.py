"""The household proves itself: its rules, its expert, its splits, and attacks on its reward."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from agentlm.environments.agentinstruct import HouseholdTexts
from agentlm.environments.catalogue import opened, text_grammar
from agentlm.environments.frozen import digest, frozen
from agentlm.environments.household.environment import HouseholdEnvironment
from agentlm.environments.household.generate import plan_splits, tasks
from agentlm.environments.household.goals import Goal
from agentlm.environments.household.simulator import NOTHING, Household
from agentlm.environments.household.tables import tables
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import EmptyPlayer, GoldPlayer, Player, RandomPlayer
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Action, Split
from agentlm.errors import OperatorError
from agentlm.trajectory import Outcome

ENVIRONMENT = HouseholdEnvironment()


def kitchen() -> Household:
    return Household(
        {
            "microwave 1": [],
            "fridge 1": ["apple 1"],
            "countertop 1": ["mug 1", "knife 1", "bread 1"],
            "sinkbasin 1": ["mug 2"],
            "shelf 1": ["desklamp 1", "book 1"],
        }
    )


STORY = [
    ("look", "You are in the middle of a room. Looking quickly around you, you see a shelf 1, a "
     "sinkbasin 1, a countertop 1, a fridge 1, and a microwave 1."),
    ("inventory", "You are not carrying anything."),
    ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
    ("take apple 1 from fridge 1", NOTHING),
    ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1."),
    ("open fridge 1", NOTHING),
    ("take apple 1 from fridge 1", "You pick up the apple 1 from the fridge 1."),
    ("cool apple 1 with fridge 1", "You cool the apple 1 using the fridge 1."),
    ("examine apple 1", "This is a cool apple 1."),
    ("close fridge 1", "You close the fridge 1."),
    ("put apple 1 in/on fridge 1", NOTHING),
    ("go to countertop 1",
     "You arrive at countertop 1. On the countertop 1, you see a mug 1, a knife 1, and a bread 1."),
    ("take mug 1 from countertop 1", NOTHING),
    ("heat apple 1 with microwave 1", NOTHING),
    ("go to microwave 1", "You arrive at microwave 1. The microwave 1 is closed."),
    ("heat apple 1 with microwave 1", "You heat the apple 1 using the microwave 1."),
    ("examine apple 1", "This is a hot apple 1."),
    ("go to sinkbasin 1", "You arrive at sinkbasin 1. On the sinkbasin 1, you see a mug 2."),
    ("clean apple 1 with sinkbasin 1", "You clean the apple 1 using the sinkbasin 1."),
    ("examine apple 1", "This is a hot and clean apple 1."),
    ("move apple 1 to sinkbasin 1", "You put the apple 1 in/on the sinkbasin 1."),
    ("examine sinkbasin 1", "On the sinkbasin 1, you see a mug 2, and a apple 1."),
    ("go to countertop 1",
     "You arrive at countertop 1. On the countertop 1, you see a mug 1, a knife 1, and a bread 1."),
    ("slice bread 1 with knife 1", NOTHING),
    ("take knife 1 from countertop 1", "You pick up the knife 1 from the countertop 1."),
    ("slice bread 1 with knife 1", "You sliced the bread 1 with the knife 1."),
    ("slice mug 1 with knife 1", NOTHING),
    ("inventory", "You are carrying: a knife 1."),
    ("Put  knife 1 ON countertop 1", "You put the knife 1 in/on the countertop 1."),
    ("go to shelf 1",
     "You arrive at shelf 1. On the shelf 1, you see a desklamp 1, and a book 1."),
    ("take desklamp 1 from shelf 1", NOTHING),
    ("use desklamp 1", "You turn on the desklamp 1."),
    ("use book 1", NOTHING),
    ("examine book 1", "There's nothing special about book 1."),
    ("look", "You are facing the shelf 1. Next to it, you see nothing."),
    *((odd, NOTHING) for odd in ("", "go to", "go to mars 1", "dance", "take book 1", "heat",
      "open shelf 1", "go to shelf 1; look", "put in/on shelf 1", "examine mug 1", "x" * 10_000)),
]  # fmt: skip


def test_a_household_answers_as_alfworld_does() -> None:
    home = kitchen()
    for command, answer in STORY:
        assert home.act(command) == answer, command


def test_what_does_not_fit_is_not_put_there() -> None:
    home = kitchen()
    for command in ("go to shelf 1", "take book 1 from shelf 1", "go to sinkbasin 1"):
        home.act(command)
    assert home.act("put book 1 in/on sinkbasin 1") == NOTHING
    assert home.carried == "book 1"


@pytest.mark.parametrize("split", SPLITS)
async def test_the_expert_solves_every_errand_without_a_slip(split: Split) -> None:
    for task in islice(tasks(split), 60):
        run = await play(ENVIRONMENT, task, GoldPlayer())
        assert (run.reward, run.outcome) == (1.0, Outcome.COMPLETED), task.instruction
        assert run.error_classes == ()
        assert len(run.exchanges) == len(task.gold) <= 34


@pytest.mark.parametrize("player", [EmptyPlayer(), RandomPlayer()])
async def test_nobody_and_chance_do_no_errand(player: Player) -> None:
    runs = [await play(ENVIRONMENT, task, player) for task in islice(tasks("test"), 40)]
    assert sum(run.reward or 0 for run in runs) == 0
    assert all(run.broken is None for run in runs)


@pytest.mark.parametrize("split", SPLITS)
def test_errands_are_what_was_written_down(split: Split) -> None:
    assert digest(tasks(split), 60) == frozen()["household"][split][60]


def test_rooms_and_goals_belong_to_one_split() -> None:
    assert len(plan_splits()) == 120
    played = {split: list(islice(tasks(split), 300)) for split in SPLITS}
    for name in ("scene", "goal"):
        sets = [{str(task.parameters[name]) for task in each} for each in played.values()]
        assert len(set.union(*sets)) == sum(map(len, sets)), name
    kinds = {split: {task.family for task in each} for split, each in played.items()}
    assert len(kinds["train"]) == 6
    assert all(kinds[split] == kinds["train"] for split in ("dev", "dev2", "test"))
    assert not kinds["test-kinds"] & kinds["train"]


def test_no_goal_is_met_before_anything_is_done() -> None:
    for split in SPLITS:
        for task in islice(tasks(split), 60):
            home = Household({k: list(v) for k, v in task.parameters["places"].items()})
            assert not Goal.model_validate(task.parameters["goal"]).is_met(home)


def test_everything_stands_where_it_may() -> None:
    for task in islice(tasks("train"), 60):
        for place, things in task.parameters["places"].items():
            for thing in things:
                kind = thing.rpartition(" ")[0]
                assert tables().can("use", kind) or tables().fits(kind, place.rpartition(" ")[0])


MUG: dict[str, str] = {"thing": "mug", "place": "countertop"}
ATTACKS = {
    "one thing twice is not two": (
        Goal(kind="two", **MUG),
        ["go to countertop 1", "take mug 1 from countertop 1", "put mug 1 on countertop 1"] * 2,
    ),
    "hot and then cool is not hot": (
        Goal(kind="heat", **MUG),
        ["go to countertop 1", "take mug 1 from countertop 1", "go to microwave 1",
         "heat mug 1 with microwave 1", "go to fridge 1", "cool mug 1 with fridge 1",
         "go to countertop 1", "put mug 1 on countertop 1"],
    ),
    "from afar nothing is heated": (
        Goal(kind="heat", **MUG),
        ["go to countertop 1", "take mug 1 from countertop 1", "heat mug 1 with microwave 1",
         "put mug 1 on countertop 1"],
    ),
    "what is not carried is not cleaned": (
        Goal(kind="clean", thing="mug", place="sinkbasin"),
        ["go to sinkbasin 1", "clean mug 2 with sinkbasin 1", "put mug 2 in sinkbasin 1"],
    ),
    "another thing does not count": (
        Goal(kind="place", thing="apple", place="countertop"),
        ["go to sinkbasin 1", "take mug 2 from sinkbasin 1", "go to countertop 1",
         "put mug 2 on countertop 1", "put apple 1 on countertop 1"],
    ),
    "a hand that is full takes nothing": (
        Goal(kind="two", **MUG),
        ["go to countertop 1", "take mug 1 from countertop 1", "go to sinkbasin 1",
         "take mug 2 from sinkbasin 1", "go to countertop 1", "put mug 1 on countertop 1",
         "put mug 2 on countertop 1"],
    ),
    "whole bread is no slice": (
        Goal(kind="heat", thing="bread", place="countertop", sliced=True),
        ["go to countertop 1", "take bread 1 from countertop 1", "go to microwave 1",
         "heat bread 1 with microwave 1", "go to countertop 1", "put bread 1 on countertop 1"],
    ),
    "a lamp that is off gives no light": (
        Goal(kind="light", thing="book", place="desklamp"),
        ["go to shelf 1", "take book 1 from shelf 1", "examine book 1", "look"],
    ),
    "a lamp without the thing in hand": (
        Goal(kind="light", thing="book", place="desklamp"),
        ["go to shelf 1", "use desklamp 1", "examine book 1"],
    ),
    "the lamp elsewhere": (
        Goal(kind="light", thing="book", place="desklamp"),
        ["go to shelf 1", "take book 1 from shelf 1", "go to countertop 1", "use desklamp 1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_reward_is_not_had_without_the_errand(attack: str) -> None:
    goal, commands = ATTACKS[attack]
    home = kitchen()
    for command in commands:
        home.act(command)
        assert not goal.is_met(home), command


async def test_saying_that_it_is_done_does_nothing() -> None:
    task = next(tasks("test"))
    async with ENVIRONMENT.open(task) as world:
        for claim in ("done", "1", task.instruction, "put a mug in shelf"):
            assert await world.score(claim) == 0.0
            seen = await world.act(Action(name="act", arguments={"command": claim}))
            assert seen.failed
        assert (world.over, world.earned) == (False, 0.0)


def test_turns_are_written_as_agentinstruct_writes_them() -> None:
    texts = text_grammar(ENVIRONMENT)
    assert isinstance(texts, HouseholdTexts)
    action = Action(name="act", arguments={"command": "go to shelf 1"})
    written = texts.turn("I look there.", action, None)
    assert written == "THOUGHT: I look there.\nACTION: go to shelf 1"
    assert texts.read(written).action == action
    assert texts.read(written).thought == "I look there."
    assert texts.read("Thought: hm.\nAction: look").action is not None
    assert texts.read("I would go.").invalid == "no ACTION:"


async def test_it_is_found_by_its_name_and_has_no_files() -> None:
    async with opened("household", concurrency=1, data_dir=Path()) as environment:
        assert environment.name == "household"
        with pytest.raises(OperatorError, match="no task files"):
            environment.load(Path("x"), "dev")
