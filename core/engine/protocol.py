"""The engine: token ids in, token ids out. Nothing above it knows what generates them.

The server runs vLLM behind this protocol (`server/vllm/engine.py`, the only module that imports
it). Tests run `ScriptedEngine`, which is shipped so that users can test their own tools with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from agentlm.messages import Frozen
from agentlm.trajectory import Sampling


class Constraint(Frozen):
    """What decoding is held to. Exactly one field is set.

    `structural_tag` and `json_schema` are JSON text: xgrammar's structural-tag format and JSON
    Schema.
    """

    structural_tag: str | None = None
    json_schema: str | None = None
    param: str = Field(default="tools", exclude=True)
    """The field of the request that asked for it, for the message if it can't be compiled."""

    @classmethod
    def of_schema(cls, schema: dict[str, Any]) -> Constraint:
        """Hold the whole text to a JSON schema."""
        return cls(json_schema=json.dumps(schema), param="response_format")

    @classmethod
    def of_form(cls, form: dict[str, Any], param: str) -> Constraint:
        """Hold the whole text to an element of a structural tag."""
        if form["type"] == "json_schema":
            return cls(json_schema=json.dumps(form["json_schema"]), param=param)
        tag = {"type": "structural_tag", "format": form}
        return cls(structural_tag=json.dumps(tag), param=param)

    def digest(self) -> str:
        """A short stable name of this constraint; every step decoded under it keeps it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class Adapter(Frozen):
    """A LoRA adapter in PEFT's format that the engine applies to its base weights."""

    name: str
    """New content needs a new name: engines cache prefixes by name."""
    path: str


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One of the likeliest tokens at a position, and its log-probability."""

    token_id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Delta:
    """What one generation step added. Inside a character, `text` can lag behind `token_ids`."""

    token_ids: Sequence[int]
    text: str
    logprobs: Sequence[float]
    """One per id: natural log, temperature 1, after the constraint's mask."""
    top_logprobs: Sequence[Sequence[TokenLogprob]] = ()
    """One list per id, if `Sampling.top_logprobs` asked for them."""
    finish_reason: Literal["stop", "length"] | None = None
    """Set on the last delta only: `stop` for an end-of-turn id."""
    cached_tokens: int = 0
    """Prompt tokens that came from the prefix cache; set on the first delta."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Everything that an engine needs for one generation."""

    prompt_ids: Sequence[int]
    sampling: Sampling
    """The engine ignores its `max_tokens`, which limits a whole run, and its `stop`, which concerns
    the answer only: the policy handles both."""
    max_tokens: int
    """At least 1."""
    constraint: Constraint | None = None
    adapter: Adapter | None = None
    salt: str = ""
    """Keeps the prefix caches of different owners apart."""
    whole: bool = False
    """Nobody reads along: all tokens may come at the end, which costs an engine less."""


class Engine(Protocol):
    """Generates tokens for any number of concurrent requests on one set of weights."""

    max_model_len: int
    """Context length in tokens, prompt and answer together."""
    weights_version: str
    """Digest of the loaded weights, without adapters."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Generate after the prompt until end-of-turn or `max_tokens`.

        Closing or cancelling the iterator aborts the request in the engine. When cancelled, it
        first yields what it has kept back.

        Raises RequestError if the engine can't compile the constraint, UnavailableError if the
        engine is down.
        """
        ...

    async def score(
        self,
        prompt_ids: Sequence[int],
        *,
        top_logprobs: int = 0,
        adapter: Adapter | None = None,
        salt: str = "",
    ) -> Sequence[Sequence[TokenLogprob]]:
        """How likely each token of a prompt is, given those before it.

        One list per id: the prompt's own token first, then the `top_logprobs` likeliest. The first
        id has nothing before it and gets an empty list. Natural log, temperature 1.
        """
        ...

    async def load_adapter(self, adapter: Adapter) -> None:
        """Make an adapter usable. Raises RequestError if its files don't fit the base model."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter; unknown names are ignored."""
        ...

    async def load_weights(self, path: str, version: str) -> None:
        """Replace the base weights in place: drain, swap, reset the prefix cache, resume.

        Raises RequestError if the files don't fit; then the old weights stay.
        """
        ...

    async def healthy(self) -> bool:
        """Whether it can take a request now."""
        ...

    def compiles(self) -> bool:
        """Whether constraints compile fast enough."""
        ...

    async def close(self) -> None:
        """End every process that the engine started."""
        ...
