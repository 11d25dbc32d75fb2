"""The engine: token ids in, token ids out. Nothing above it knows what generates.

The server runs vLLM behind this protocol (`server/vllm_engine.py`, the only module that imports
it); tests run `ScriptedEngine`, which is shipped so that users can test their own tools with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agentlm.messages import Frozen
from agentlm.trajectory import Sampling


class Constraint(Frozen):
    """What decoding is held to; exactly one field is set.

    `structural_tag` and `json_schema` are JSON text: xgrammar's structural-tag format and JSON
    Schema.
    """

    structural_tag: str | None = None
    json_schema: str | None = None

    @classmethod
    def of_schema(cls, schema: dict[str, Any]) -> Constraint:
        """Hold the whole text to a JSON schema."""
        return cls(json_schema=json.dumps(schema))

    def digest(self) -> str:
        """A short stable name of this constraint, kept on every step decoded under it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class Adapter(Frozen):
    """A LoRA adapter in PEFT's format that the engine applies to its base weights."""

    name: str
    """A new name for new content: engines cache prefixes by it."""
    path: str


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token and its log-probability, among the likeliest at a position."""

    token_id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Delta:
    """What one generation step added. `text` can lag behind `token_ids` inside a character."""

    token_ids: Sequence[int]
    text: str
    logprobs: Sequence[float]
    """One per id: natural log, temperature 1, after the constraint's mask."""
    top_logprobs: Sequence[Sequence[TokenLogprob]] = ()
    """One list per id if `Sampling.top_logprobs` asked for them."""
    finish_reason: Literal["stop", "length"] | None = None
    """Set on the last delta only: `stop` for an end-of-turn id."""
    cached_tokens: int = 0
    """Prompt tokens that came from the prefix cache; on the first delta."""


class Engine(Protocol):
    """Generates tokens for any number of concurrent requests on one set of weights."""

    max_model_len: int
    """Context length in tokens, prompt and answer together."""
    weights_version: str
    """Digest of what is loaded, without adapters."""

    def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int,
        constraint: Constraint | None = None,
        adapter: Adapter | None = None,
        salt: str = "",
        whole: bool = False,
    ) -> AsyncGenerator[Delta, None]:
        """Generate after `prompt_ids` until end-of-turn or `max_tokens` (≥ 1).

        `sampling.max_tokens` bounds a whole run and `sampling.stop` concerns the answer only: the
        policy sees to both, they are not read here. `salt` keeps the prefix
        cache of one owner from another's. `whole`: nobody reads along, so that all may come at the
        end, which costs an engine less. Closing or cancelling the iterator aborts the request in
        the engine; cancelled, it first yields what it kept.

        Raises RequestError for a constraint the engine can't compile, UnavailableError if the
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
        """How likely each token of a prompt is after those before it.

        One list per id, the prompt's own token first, then the `top_logprobs` likeliest; the first
        id has nothing before it and gets an empty list. Natural log, temperature 1.
        """
        ...

    async def load_adapter(self, adapter: Adapter) -> None:
        """Make an adapter usable. Raises RequestError if its files don't fit the base."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter; unknown names are ignored."""
        ...

    async def load_weights(self, path: str, version: str) -> None:
        """Replace the base weights in place: drain, swap, reset the prefix cache, resume.

        Raises RequestError if the files don't fit; the old weights then stay.
        """
        ...

    async def healthy(self) -> bool:
        """Whether it can take a request now."""
        ...

    async def close(self) -> None:
        """End every process that the engine started."""
        ...


@dataclass
class ScriptedEngine:
    """An engine that says what it is told: for tests of everything that is not the model.

    `script` yields, per request in order, either text (one delta per token of it, then the
    end-of-turn id), token ids (exactly those, nothing added), or an exception to raise.
    `encode` and `end_of_turn` come from the renderer of the model it plays. What it was asked is
    kept in `requests`.
    """

    script: Iterable[str | Sequence[int] | Exception]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    end_of_turn: int
    max_model_len: int = 8192
    weights_version: str = "scripted"
    delay_s: float = 0.0
    """Waited before every token, so that a test can interrupt."""
    requests: list[dict[str, object]] = field(default_factory=list)
    adapters: dict[str, Adapter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._replies = iter(self.script)

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int,
        constraint: Constraint | None = None,
        adapter: Adapter | None = None,
        salt: str = "",
        whole: bool = False,
    ) -> AsyncGenerator[Delta, None]:
        """See `Engine.generate`; `whole` or not, it tells token by token."""
        self.requests.append(
            {
                "prompt_ids": list(prompt_ids),
                "sampling": sampling,
                "max_tokens": max_tokens,
                "constraint": constraint,
                "adapter": adapter,
                "salt": salt,
                "whole": whole,
            }
        )
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        ids = [*self.encode(reply), self.end_of_turn] if isinstance(reply, str) else list(reply)
        text = ""
        for count, token in enumerate(ids[:max_tokens], start=1):
            await asyncio.sleep(self.delay_s)
            ended = token == self.end_of_turn
            spelt = self.decode(ids[: count - 1 if ended else count])
            # A character whose bytes are not all there yet decodes to the replacement character.
            shown = text if spelt.endswith("\ufffd") and not ended else spelt
            reason: Literal["stop", "length"] | None = None
            if ended or count in (max_tokens, len(ids)):
                reason = "stop" if ended else "length"
            yield Delta([token], shown[len(text) :], [-0.5], (), reason)
            text = shown

    async def score(
        self,
        prompt_ids: Sequence[int],
        *,
        top_logprobs: int = 0,
        adapter: Adapter | None = None,
        salt: str = "",
    ) -> Sequence[Sequence[TokenLogprob]]:
        """See `Engine.score`; every token is as likely as those that it says."""
        scored = [[TokenLogprob(token, -0.5)] * (1 + min(1, top_logprobs)) for token in prompt_ids]
        return [[], *scored[1:]]

    async def load_adapter(self, adapter: Adapter) -> None:
        """Remember it, so that a test can look."""
        self.adapters[adapter.name] = adapter

    async def unload_adapter(self, name: str) -> None:
        """Forget it."""
        self.adapters.pop(name, None)

    async def load_weights(self, path: str, version: str) -> None:
        """Take the new version's name."""
        self.weights_version = version

    async def healthy(self) -> bool:
        """Always."""
        return True

    async def close(self) -> None:
        """Nothing to end."""
