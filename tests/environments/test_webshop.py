"""The webshop proves itself: its pages, its expert, its splits, and attacks on its reward."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from agentlm.environments.agentinstruct import WebshopTexts
from agentlm.environments.catalogue import text_grammar
from agentlm.environments.frozen import digest, frozen
from agentlm.environments.playing.play import play
from agentlm.environments.playing.players import EmptyPlayer, GoldPlayer, Player, RandomPlayer
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Action, Split
from agentlm.environments.webshop.catalogue import Product, types, types_of
from agentlm.environments.webshop.environment import WebshopEnvironment
from agentlm.environments.webshop.generate import tasks
from agentlm.environments.webshop.reward import Wish, reward
from agentlm.environments.webshop.shop import Shop
from agentlm.errors import OperatorError
from agentlm.trajectory import Outcome

ENVIRONMENT = WebshopEnvironment()
KETTLE = Product(
    id="B0KETTLE01",
    type="Electric Kettle",
    title="Sloop Ltd Electric Kettle, black",
    attributes=("black",),
    options={"capacity": ("1L", "2L"), "material": ("glass", "plastic")},
    price=99.0,
)
OTHERS = [
    KETTLE.model_copy(update={"id": f"B0OTHER{n:03}", "title": f"Kettle {n}", "price": 200.0})
    for n in range(20)
]
WISH = Wish(
    type="Electric Kettle", attributes=("black",), options={"capacity": "2L"}, price_below=100.0
)


def visit(*clicks: str, products: Sequence[Product] = (KETTLE, *OTHERS)) -> Shop:
    shop = Shop("i want a kettle", products)
    assert shop.search("electric kettle") is not None
    for element in clicks:
        assert shop.click(element) is not None, element
    return shop


@pytest.mark.parametrize("split", SPLITS)
async def test_the_expert_buys_what_is_wanted_without_a_slip(split: Split) -> None:
    for task in islice(tasks(split), 60):
        run = await play(ENVIRONMENT, task, GoldPlayer())
        assert (run.reward, run.outcome) == (1.0, Outcome.COMPLETED), task.instruction
        assert run.error_classes == ()


@pytest.mark.parametrize("player", [EmptyPlayer(), RandomPlayer()])
async def test_nobody_and_chance_buy_nothing(player: Player) -> None:
    runs = [await play(ENVIRONMENT, task, player) for task in islice(tasks("test"), 40)]
    assert sum(run.reward or 0 for run in runs) == 0
    assert all(run.broken is None for run in runs)


@pytest.mark.parametrize("split", SPLITS)
def test_wishes_are_what_was_written_down(split: Split) -> None:
    assert digest(tasks(split), 60) == frozen()["webshop"][split][60]


def test_types_and_makers_and_words_belong_to_one_split() -> None:
    assert sorted(name for split in SPLITS for name in types_of(split)) == sorted(types())
    played = {split: list(islice(tasks(split), 100)) for split in SPLITS}
    makers = [
        {p["title"].partition(f" {p['type']}")[0] for t in each for p in t.parameters["products"]}
        for each in played.values()
    ]
    assert len(set.union(*makers)) == sum(map(len, makers))
    kinds = {split: {task.family for task in each} for split, each in played.items()}
    assert all(kinds[split] == kinds["train"] for split in ("dev", "dev2", "test"))
    assert not kinds["test-kinds"] & kinds["train"]
    ways = [{task.template for task in each} for each in played.values()]
    assert len(set.union(*ways)) == sum(map(len, ways))


def test_a_page_lists_what_can_be_clicked_and_nothing_else_can() -> None:
    shop = visit()
    assert "Page 1 (Total results: 21)" in shop.show()
    assert shop.clickables()[:3] == ["Back to Search", "Next >", "B0KETTLE01"]
    for impossible in ("Buy Now", "2L", "B0OTHER019", "< Prev", "search", "", "B0KETTLE01 "[:5]):
        assert shop.click(impossible) is None, impossible
    assert shop.search("again") is None
    assert shop.click("next >") is not None
    assert "Page 2" in shop.show()
    assert shop.click("< Prev") is not None
    assert shop.click("b0kettle01") is not None
    assert shop.click("Features") is not None
    assert shop.click("Buy Now") is None
    assert shop.click("< prev") is not None
    assert shop.click("2l") is not None
    assert shop.chosen == {"capacity": "2L"}
    assert shop.click("Back to Search") is not None
    assert '"has_search_bar": true' in shop.show()


def test_a_search_without_a_hit_finds_nothing() -> None:
    shop = Shop("w", [KETTLE])
    assert "Total results: 0" in (shop.search("zzz ### ") or "")


BOUGHT = {
    "all that was wanted": (["B0KETTLE01", "2L", "Buy Now"], 1.0),
    "an option not chosen": (["B0KETTLE01", "Buy Now"], 2 / 3),
    "another option": (["B0KETTLE01", "2L", "1L", "Buy Now"], 2 / 3),
    "an option of another product": (
        ["B0KETTLE01", "2L", "< Prev", "B0OTHER000", "Buy Now"],
        1 / 3,
    ),
    "too dear": (["B0OTHER000", "2L", "Buy Now"], 2 / 3),
    "looked at and left": (["B0KETTLE01", "2L"], 0.0),
    "left by the search bar": (["B0KETTLE01", "2L", "Back to Search"], 0.0),
}


@pytest.mark.parametrize("case", BOUGHT)
def test_the_reward_is_the_share_of_what_was_wanted(case: str) -> None:
    clicks, worth = BOUGHT[case]
    shop = visit(*clicks)
    found = reward(WISH, shop.bought, shop.chosen) if shop.bought else 0.0
    assert found == pytest.approx(worth)


@pytest.mark.parametrize(
    ("kind", "title", "share"),
    [
        ("Tea Kettle", "Sloop Ltd Tea Kettle, black", 0.5),
        ("Grill", "Electric Kettle Works Grill, black", 0.5),
        ("Grill", "Sloop Ltd Grill, black", 0.0),
    ],
)
def test_another_type_with_all_the_rest_is_worth_little(
    kind: str, title: str, share: float
) -> None:
    other = KETTLE.model_copy(update={"type": kind, "title": title})
    assert reward(WISH, other, {"capacity": "2L"}) == pytest.approx(share)


async def test_what_was_bought_can_not_be_bought_again_and_words_count_nothing() -> None:
    task = next(tasks("test"))
    async with ENVIRONMENT.open(task) as world:
        for claim in ("Buy Now", "done", task.instruction):
            assert await world.score(claim) == 0.0
            action = Action(name="click", arguments={"element": claim})
            assert (await world.act(action)).failed
        for move in task.gold:
            assert move.action is not None
            await world.act(move.action)
        assert (world.over, world.earned) == (True, 1.0)
        again = [await world.act(move.action) for move in task.gold if move.action]
        assert all(seen.failed for seen in again)
        assert world.earned == 1.0


def test_turns_are_written_as_agentinstruct_writes_them() -> None:
    texts = text_grammar(ENVIRONMENT)
    assert isinstance(texts, WebshopTexts)
    action = Action(name="search", arguments={"keywords": "tea kettle"})
    written = texts.turn("I look.", action, None)
    assert written == "Thought:\nI look.\n\nAction:\nsearch[tea kettle]"
    assert texts.read(written).action == action
    assert texts.read(written).thought == "I look."
    assert texts.read("Action: click[Buy Now]").action is not None
    for odd in ("click[Buy Now]", "Action: buy[it]", "Action:", ""):
        assert texts.read(odd).invalid


def test_it_has_no_files() -> None:
    with pytest.raises(OperatorError, match="no task files"):
        ENVIRONMENT.load(Path("x"), "dev")
