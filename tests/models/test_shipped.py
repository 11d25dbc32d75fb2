"""What comes with the package as a model is what its card says."""

from __future__ import annotations

import pytest
from safetensors import safe_open

from agentlm.models.cards import BUILT_IN, ModelCard
from agentlm.models.model_files import ADAPTER_WEIGHTS, read_json, shipped_adapter
from agentlm.models.promotion import verdict_of
from agentlm.prompt.digest import prompt_digest

SHIPPED = [card for card in BUILT_IN.values() if card.merged]


@pytest.fixture(params=SHIPPED, ids=lambda card: card.name)
def card(request: pytest.FixtureRequest) -> ModelCard:
    return request.param


def test_agentlm_135m_comes_with_the_package() -> None:
    assert [card.name for card in SHIPPED] == ["agentlm-135m"]


def test_it_is_served_with_the_prompt_that_it_was_trained_on(card: ModelCard) -> None:
    assert card.prompt_digest == prompt_digest()


def test_it_continues_a_model_that_is_known(card: ModelCard) -> None:
    parent = BUILT_IN[str(card.parent)]
    assert (card.source, card.location) == (parent.source, parent.location)
    assert (card.template, card.system_prompt) == (parent.template, parent.system_prompt)


def test_its_adapter_is_small_and_whole(card: ModelCard) -> None:
    directory = shipped_adapter(str(card.merged))
    weights = directory / ADAPTER_WEIGHTS

    assert weights.stat().st_size <= 25_000_000
    rank = read_json(directory / "adapter_config.json")["r"]
    with safe_open(weights, "np") as tensors:
        names = list(tensors.keys())
        assert len(names) == 2 * 7 * 30, "A and B of seven matrices in each of thirty layers"
        assert all(rank in tensors.get_slice(name).get_shape() for name in names)


def test_its_card_says_where_it_comes_from_and_how_well_it_does(card: ModelCard) -> None:
    training = card.training or {}

    assert {"parent_weights", "stages", "evaluation", "licences"} <= training.keys()
    assert all(len(stage["data_sha256"]) == 64 for stage in training["stages"])
    assert {"weights", "wordnet", "geonames"} <= training["licences"].keys()
    assert training["evaluation"], "what it solves is measured before it is shipped"


def test_a_gate_of_another_model_in_the_directory_is_not_its_own(
    card: ModelCard, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path_factory.mktemp("elsewhere")
    (directory / "gate.json").write_text("{}")
    monkeypatch.chdir(directory)

    assert verdict_of(card) is None
