"""The registry: model cards under a data directory, and where the files of their models are.

A name stands for the first of these that exists: a built-in card, a registered one, the card of an
alias, a local directory with a model in it, any id on the hub (`org/name`). Cards are JSON files.
Nothing is kept in memory, so every process sees what another has just registered.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agentlm.errors import ConflictError, NotFoundError, OperatorError, RequestError
from agentlm.files import shared_place, write_text
from agentlm.models import convert as weights
from agentlm.models import hub
from agentlm.models.aliases import Aliases
from agentlm.models.cards import BUILT_IN, ModelCard
from agentlm.models.digests import FileDigests, combined
from agentlm.models.model_files import (
    ADAPTER_WEIGHTS,
    TRAINED_ON,
    card_template,
    check_adapter,
    check_model,
    read_json,
    shipped_adapter,
    weight_files,
)
from agentlm.prompt.render import tokenizer_digest
from agentlm.settings import Settings

__all__ = ["BUILT_IN", "ModelCard", "ModelFiles", "Registry", "card_template"]

ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
_WORD = ALIAS.strip("^$")
NAME = re.compile(rf"{_WORD}|ft:{_WORD}::[A-Za-z0-9._-]{{0,64}}:[a-z0-9]{{6,32}}")
"""A word, or OpenAI's form for a fine-tuned model: `ft:base::suffix:id`. Never a path."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine, ready to load."""

    card: ModelCard
    """Its `weights_version` and `tokenizer_digest` are those of the files as they are now."""
    directory: Path
    """config.json, weights, tokenizer.json; those of the base if there is an adapter."""
    adapter: Path | None = None
    base: ModelCard | None = None
    """For an adapter: the card of the weights that it changes, with its own digests."""


def _as_path(name: str) -> Path:
    """A name as a path. If it can't be a path, the result is a path that doesn't exist."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError):
        return Path("/dev/null")
    return path


class Registry:
    """The model cards of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._models = data_dir / "models"
        self._cards = self._models / "cards"
        self._digests = FileDigests(self._models / "digests.json")
        self.aliases = Aliases(data_dir)

    def get(self, name: str) -> ModelCard:
        """The card that a name stands for. Raises NotFoundError, with the nearest known names."""
        if name in BUILT_IN:
            return BUILT_IN[name]
        if NAME.fullmatch(name) and self._path(name).is_file():
            return self._load(self._path(name))
        if re.fullmatch(ALIAS, name) and (card := self.aliases.card(name)) not in (None, name):
            return self.get(card)
        directory = _as_path(name)
        if (directory / "config.json").is_file():
            directory = directory.resolve()
            created = directory.stat().st_mtime
            return ModelCard(
                name=directory.name, source="local", location=str(directory), created=created
            )
        if directory.is_dir():
            raise NotFoundError(f"{directory} is not a model: it has no config.json", param="model")
        if name.startswith((".", "/", "~")):
            raise NotFoundError(f"there is no directory {name}", param="model")
        if HUB_ID.fullmatch(name):
            return ModelCard(name=name, source="hub", location=name, created=0)
        raise NotFoundError(self._unknown(name), param="model", code="model_not_found")

    def list(self) -> tuple[ModelCard, ...]:
        """Built-in cards, then registered ones, oldest first."""
        registered = [self._load(path) for path in self._cards.glob("*.json")]
        return (*BUILT_IN.values(), *sorted(registered, key=lambda card: card.created))

    def add(self, card: ModelCard) -> ModelCard:
        """Register a card and return it as it is kept: with digests, if its files are local.

        Registering the same card again changes nothing. Raises RequestError for an impossible name,
        ConflictError if another card has the name, OperatorError if the files are missing.
        """
        self._check_name(card.name)
        if card.source == "local" or card.adapter:
            card = self.resolve(card).card
        try:
            write_text(self._path(card.name), card.model_dump_json(indent=2), replace=False)
        except FileExistsError as error:
            kept = self._load(self._path(card.name))
            if kept != card.model_copy(update={"created": kept.created}):
                raise ConflictError(
                    f"another model is already called {card.name}; remove it first", param="model"
                ) from error
            return kept
        return card

    def check_free(self, name: str) -> None:
        """Raise RequestError or ConflictError if no model can be registered under this name."""
        self._check_name(name)
        if self._path(name).exists():
            raise ConflictError(f"another model is already called {name}", param="model")

    def _check_name(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise RequestError(
                f"{name!r} can't be a model's name: letters, digits, '.', '_' and '-'",
                param="model",
            )
        if name in BUILT_IN:
            raise ConflictError(f"{name} is built in", param="model")
        if name in self.aliases.list():
            raise ConflictError(f"{name} is an alias", param="model")

    def remove(self, name: str) -> None:
        """Forget a registered card; its files stay.

        Raises ConflictError if it is built in, is the base of another or has an alias, and
        NotFoundError if it is unknown.
        """
        if name in BUILT_IN:
            raise ConflictError(f"{name} is built in", param="model")
        if not NAME.fullmatch(name) or not self._path(name).is_file():
            raise NotFoundError(self._unknown(name), param="model", code="model_not_found")
        dependents = [card.name for card in self.list() if card.base == name]
        if dependents:
            raise ConflictError(f"{name} is the base of {', '.join(dependents)}", param="model")
        if named := [alias for alias, card in self.aliases.list().items() if card == name]:
            raise ConflictError(f"{', '.join(named)} points to {name}", param="model")
        self._path(name).unlink()

    def resolve(self, card: ModelCard) -> ModelFiles:
        """Find, download or convert a card's files, with progress on stderr.

        Raises OperatorError, in one sentence, if something is missing or unreachable.
        """
        if card.adapter is not None:
            if card.base is None:
                raise OperatorError(f"the model {card.name} has an adapter but names no base")
            return self.adapter_files(card, self.resolve(self.get(card.base)))
        directory = self._with_tokenizer(card, self._locate(card))
        digest = _tokenizer_digest(card, directory)
        # A commit on the hub identifies its files already.
        version = directory.name if card.source == "hub" else self._digest(directory)
        return ModelFiles(_stamped(card, combined(version, digest), digest), directory)

    def adapter_files(self, card: ModelCard, base: ModelFiles) -> ModelFiles:
        """The files of an adapter with a base that is at hand. Raises OperatorError if they don't
        fit."""
        if base.adapter is not None:
            raise OperatorError(f"{card.base}, the base of {card.name}, is itself an adapter")
        adapter = Path(card.adapter or "")
        check_adapter(adapter)
        self._check_base(adapter, base)
        digest = _tokenizer_digest(card, base.directory)
        changed = self._digests.of([adapter / "adapter_config.json", adapter / ADAPTER_WEIGHTS])
        version = combined(base.card.weights_version or "", changed, digest)
        return ModelFiles(_stamped(card, version, digest), base.directory, adapter, base.card)

    def record_base(self, adapter: Path, base: Path) -> None:
        """Write beside an adapter which weights it was trained on: it fits no other weights."""
        write_text(adapter / TRAINED_ON, json.dumps({"weights": self._weights(base)}))

    def _check_base(self, adapter: Path, base: ModelFiles) -> None:
        """Adapters from elsewhere don't name their base's weights; they are trusted."""
        record = adapter / TRAINED_ON
        if record.is_file() and read_json(record).get("weights") != self._weights(base.directory):
            raise OperatorError(
                f"the adapter in {adapter} was trained on other weights than those that "
                f"{base.card.name} has in {base.directory}"
            )

    def _weights(self, directory: Path) -> str:
        return self._digests.of(weight_files(directory))

    def _locate(self, card: ModelCard) -> Path:
        match card.source:
            case "hub":
                directory = hub.download(card.location, card.revision)
            case "package" if card.merged and card.parent:
                base = self._locate(self.get(card.parent))
                adapter = shipped_adapter(card.merged)
                version = self._digests.of([adapter / ADAPTER_WEIGHTS])
                title = f"{card.merged}-{version[:16]}"
                place = shared_place(f"models/{title}", [self._models / title])
                directory = weights.with_adapter(base, adapter, place)
            case "package":
                directory = weights.from_package(card.location, self._converted(card))
            case "local":
                directory = Path(card.location)
            case "upstream":
                raise OperatorError(f"{card.name} runs at {card.location}: no files of it are here")
        check_model(directory)
        return directory

    def _converted(self, card: ModelCard) -> Path:
        """Converting a package's model costs a minute and half a gigabyte: done once for each
        user."""
        earlier = [self._models / card.name, Settings.usual_data_dir() / "models" / card.name]
        return shared_place(f"models/{weights.title(card.location)}", earlier)

    def _with_tokenizer(self, card: ModelCard, directory: Path) -> Path:
        if (directory / "tokenizer.json").is_file():
            return directory
        # The last part is a commit on the hub, which identifies the version.
        slug = card.location.strip("/").replace("/", "--")
        return weights.with_tokenizer(directory, self._models / "converted" / slug / directory.name)

    def _digest(self, directory: Path) -> str:
        return self._digests.of([directory / "config.json", *weight_files(directory)])

    def _path(self, name: str) -> Path:
        return self._cards / f"{name}.json"

    def _load(self, path: Path) -> ModelCard:
        try:
            return ModelCard.model_validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            reason = error if isinstance(error, OSError) else error.errors()[0]["msg"]
            raise OperatorError(f"the model card {path} can't be read: {reason}") from error

    def _unknown(self, name: str) -> str:
        known = [card.name for card in self.list()]
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"known: {', '.join(known)}"
        return f"unknown model {name!r}; {hint}"


def _tokenizer_digest(card: ModelCard, directory: Path) -> str:
    text = (directory / "tokenizer.json").read_text()
    return tokenizer_digest(text, card_template(card, directory), thoughts=card.thoughts)


def _stamped(card: ModelCard, weights_version: str, digest: str) -> ModelCard:
    update = {"weights_version": weights_version, "tokenizer_digest": digest}
    return card.model_copy(update=update)
