"""Names, cards and files of models."""

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from agentlm.errors import ConflictError, NotFoundError, OperatorError, RequestError
from agentlm.models.cards import BUILT_IN, ModelCard
from agentlm.models.registry import Registry
from support.tiny import tiny_llama


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "data")


def local(name: str, directory: Path, **more: object) -> ModelCard:
    return ModelCard.model_validate(
        {"name": name, "source": "local", "location": str(directory), **more}
    )


def test_the_built_in_models_are_known(registry: Registry) -> None:
    assert [card.name for card in registry.list()] == list(BUILT_IN)
    seven = registry.get("agentlm-7b")
    assert (seven.location, seven.template, seven.system) == (
        "zai-org/agentlm-7b",
        "llama2",
        "fixed",
    )


def test_any_directory_and_any_hub_id_is_a_model(registry: Registry, chatml_llama: Path) -> None:
    assert registry.get(str(chatml_llama)).location == str(chatml_llama)
    assert registry.get("some-org/model.v2").source == "hub"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smolm2", "unknown model 'smolm2'; did you mean smollm2-135m?"),
        ("../../etc/passwd", "there is no directory ../../etc/passwd"),
        ("./nothere", "there is no directory ./nothere"),
        ("", "is not a model: it has no config.json"),
        ("/", "is not a model: it has no config.json"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    registry: Registry, name: str, message: str
) -> None:
    with pytest.raises(NotFoundError) as caught:
        registry.get(name)
    assert message in str(caught.value)
    assert caught.value.param == "model"


def test_a_registered_card_is_found_by_every_process_and_bears_its_digests(
    registry: Registry, chatml_llama: Path, tmp_path: Path
) -> None:
    added = registry.add(local("mine", chatml_llama, training={"steps": 4}))
    assert added.weights_version
    assert added.tokenizer_digest
    other = Registry(tmp_path / "data")
    assert other.get("mine") == added
    assert other.list()[-1] == added
    assert registry.add(local("mine", chatml_llama, training={"steps": 4})) == added


def test_a_name_belongs_to_the_first_who_took_it(
    registry: Registry, chatml_llama: Path, llama2_llama: Path
) -> None:
    registry.add(local("mine", chatml_llama))
    with pytest.raises(ConflictError, match="already called mine"):
        registry.add(local("mine", llama2_llama))
    with pytest.raises(ConflictError, match="built in"):
        registry.add(local("agentlm-7b", chatml_llama))
    with pytest.raises(RequestError, match="can't be a model's name"):
        registry.add(local("../escape", chatml_llama))


def test_a_removed_name_is_free_again(registry: Registry, chatml_llama: Path) -> None:
    registry.add(local("mine", chatml_llama))
    registry.remove("mine")
    with pytest.raises(NotFoundError):
        registry.remove("mine")
    with pytest.raises(ConflictError, match="built in"):
        registry.remove("smollm2-135m")


def test_digests_follow_the_files_and_not_their_place(registry: Registry, tmp_path: Path) -> None:
    first = registry.resolve(local("a", tiny_llama(tmp_path / "a"))).card
    copied = shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert registry.resolve(local("b", copied)).card.weights_version == first.weights_version
    tiny_llama(tmp_path / "a", seed=1)
    trained = registry.resolve(local("a", tmp_path / "a")).card
    assert trained.weights_version != first.weights_version
    assert trained.tokenizer_digest == first.tokenizer_digest
    other_words = registry.resolve(local("a", tmp_path / "a", template="llama2")).card
    assert other_words.tokenizer_digest != first.tokenizer_digest


def test_unchanged_files_are_not_hashed_again(
    registry: Registry, chatml_llama: Path, tmp_path: Path
) -> None:
    registry.add(local("mine", chatml_llama))
    cache = tmp_path / "data/models/digests.json"
    weights = str((chatml_llama / "model.safetensors").resolve())
    known = json.loads(cache.read_text())
    known[weights]["sha256"] = "remembered"
    cache.write_text(json.dumps(known))
    before = registry.get("mine").weights_version
    assert registry.resolve(registry.get("mine")).card.weights_version != before
    cache.write_text("{ torn")
    assert registry.resolve(registry.get("mine")).card.weights_version == before


def adapter(directory: Path, content: str = "weights") -> Path:
    directory.mkdir()
    (directory / "adapter_config.json").write_text("{}")
    (directory / "adapter_model.safetensors").write_text(content)
    return directory


def test_an_adapter_is_its_base_and_a_little_more(
    registry: Registry, chatml_llama: Path, tmp_path: Path
) -> None:
    base = registry.add(local("base", chatml_llama))
    files = adapter(tmp_path / "adapter")
    card = local("tuned", files, base="base", adapter=str(files), parent="base")
    found = registry.resolve(registry.add(card))
    assert (found.directory, found.adapter, found.base) == (chatml_llama, files, base)
    assert found.card.weights_version != base.weights_version
    assert found.card.tokenizer_digest == base.tokenizer_digest
    with pytest.raises(ConflictError, match="base is the base of tuned"):
        registry.remove("base")
    with pytest.raises(OperatorError, match="is itself an adapter"):
        registry.resolve(card.model_copy(update={"base": "tuned"}))


def test_an_adapter_that_was_trained_here_fits_no_other_weights(
    registry: Registry, tmp_path: Path
) -> None:
    base = tiny_llama(tmp_path / "base")
    registry.add(local("base", base))
    registry.add(local("other", tiny_llama(tmp_path / "other", seed=1)))
    files = adapter(tmp_path / "adapter")
    card = local("tuned", files, base="base", adapter=str(files))
    registry.record_base(files, base)
    registry.add(card)

    with pytest.raises(OperatorError, match="trained on other weights than those that other has"):
        registry.add(card.model_copy(update={"name": "lost", "base": "other"}))
    tiny_llama(base, seed=1)
    with pytest.raises(OperatorError, match="trained on other weights than those that base has"):
        registry.resolve(registry.get("tuned"))


def test_what_is_missing_is_said_in_one_sentence(
    registry: Registry, chatml_llama: Path, tmp_path: Path
) -> None:
    def refusal(card: ModelCard) -> str:
        with pytest.raises(OperatorError) as caught:
            registry.add(card)
        return str(caught.value)

    assert "there is no directory" in refusal(local("a", tmp_path / "nowhere"))
    partial = shutil.copytree(chatml_llama, tmp_path / "partial")
    (partial / "model.safetensors").unlink()
    assert "has no weights" in refusal(local("a", partial))
    index = {"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}
    (partial / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks weight files: model-1.safetensors, model-2" in refusal(local("a", partial))
    silent = shutil.copytree(chatml_llama, tmp_path / "silent")
    (silent / "chat_template.jinja").unlink()
    assert "--template, one of chatml, llama2" in refusal(local("a", silent))
    assert "unknown chat template 'x'" in refusal(local("a", silent, template="x"))
    upstream = ModelCard(name="gpt", source="upstream", location="http://upstream/v1")
    with pytest.raises(OperatorError, match="no files of it are here"):
        registry.resolve(registry.add(upstream))


def test_a_torn_card_names_its_file(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "data/models/cards").mkdir(parents=True)
    (tmp_path / "data/models/cards/torn.json").write_text('{"name": "torn"')
    with pytest.raises(OperatorError, match=r"cards/torn\.json can't be read: Invalid JSON"):
        registry.get("torn")


def test_a_sentencepiece_tokenizer_is_converted_once(
    registry: Registry, llama2_llama: Path, tmp_path: Path
) -> None:
    import sentencepiece

    text = tmp_path / "text.txt"
    text.write_text("hello there, how are you?\nthe capital of France is Paris\n" * 50)
    model = shutil.copytree(llama2_llama, tmp_path / "model")
    (model / "tokenizer.json").unlink()
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(model / "tokenizer"),
        model_type="bpe",
        vocab_size=300,
        byte_fallback=True,
        minloglevel=2,
    )
    directory = registry.resolve(local("old", model)).directory
    assert directory != model
    assert (directory / "model.safetensors").resolve() == (model / "model.safetensors").resolve()
    assert registry.resolve(local("old", model)).directory == directory
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode("hello Paris").ids) == "hello Paris"


def test_a_card_with_fields_that_nothing_reads_any_more_loads(
    registry: Registry, tmp_path: Path
) -> None:
    card = {"name": "old", "source": "upstream", "location": "http://a/v1", "created": 1.0}
    registry.add(ModelCard.model_validate(card))
    [file] = tmp_path.rglob("old.json")
    file.write_text(json.dumps(card | {"grammar": "react", "append_only": None}))

    assert registry.get("old") == ModelCard.model_validate(card)
    with pytest.raises(ValidationError, match="gramar"):
        ModelCard.model_validate(card | {"gramar": "react"})


@pytest.mark.parametrize("name", ["~nobody-has-this-name", "a\0b", "\ud84b", "a" * 5000, "~\u0880"])
def test_a_name_that_no_path_can_be_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError):
        Registry(tmp_path).get(name)
