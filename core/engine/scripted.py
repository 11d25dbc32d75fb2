"""An engine that follows a script, shipped so that users can test their own tools with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agentlm.engine.protocol import Adapter, Delta, GenerateRequest, TokenLogprob


@dataclass
class ScriptedEngine:
    """An engine that follows a script: for tests of everything that is not the model.

    For each request, in order, `script` yields text (one delta per token of it, then the
    end-of-turn id), token ids (exactly these, nothing added), or an exception to raise. `encode`
    and `end_of_turn` come from the renderer of the model that the engine stands for. `requests`
    keeps the requests that it got.
    """

    script: Iterable[str | Sequence[int] | Exception]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    end_of_turn: int
    max_model_len: int = 8192
    weights_version: str = "scripted"
    delay_s: float = 0.0
    """Seconds to wait before every token, so that a test can interrupt."""
    requests: list[GenerateRequest] = field(default_factory=list)
    adapters: dict[str, Adapter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._replies = iter(self.script)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Ignores `GenerateRequest.whole`: it always yields token by token."""
        self.requests.append(request)
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        ids = [*self.encode(reply), self.end_of_turn] if isinstance(reply, str) else list(reply)
        text = ""
        likeliest = request.sampling.top_logprobs
        for count, token in enumerate(ids[: request.max_tokens], start=1):
            await asyncio.sleep(self.delay_s)
            ended = token == self.end_of_turn
            spelt = self.decode(ids[: count - 1 if ended else count])
            # A character whose bytes have not all come yet decodes to the replacement character.
            whole_text = text if spelt.endswith("\ufffd") and not ended else spelt
            reason: Literal["stop", "length"] | None = None
            if ended or count in (request.max_tokens, len(ids)):
                reason = "stop" if ended else "length"
            top = [[TokenLogprob(token, -0.5)] * likeliest] if likeliest else []
            yield Delta([token], whole_text[len(text) :], [-0.5], top, reason)
            text = whole_text

    async def score(
        self,
        prompt_ids: Sequence[int],
        *,
        top_logprobs: int = 0,
        adapter: Adapter | None = None,
        salt: str = "",
    ) -> Sequence[Sequence[TokenLogprob]]:
        """Every token has the same probability as those that the script generates."""
        scored = [[TokenLogprob(token, -0.5)] * (1 + min(1, top_logprobs)) for token in prompt_ids]
        return [[], *scored[1:]]

    async def load_adapter(self, adapter: Adapter) -> None:
        """Record it for a test to look at."""
        self.adapters[adapter.name] = adapter

    async def unload_adapter(self, name: str) -> None:
        self.adapters.pop(name, None)

    async def load_weights(self, path: str, version: str) -> None:
        self.weights_version = version

    async def healthy(self) -> bool:
        return True

    def compiles(self) -> bool:
        return True

    async def close(self) -> None:
        """It has nothing to end."""
