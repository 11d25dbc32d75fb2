"""Raw completions: continue a prompt of text or ids unchanged, and score prompts."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from openai.types.completion_create_params import CompletionCreateParamsBase
from pydantic import Field

from agentlm.agent.ask import Ask
from agentlm.agent.loop import Limits
from agentlm.engine.protocol import TokenLogprob
from agentlm.errors import ContextLengthError, RequestError
from agentlm.server.chat.chat import Chat
from agentlm.server.chat.choice import Choice
from agentlm.server.chat.request import Request
from agentlm.server.conversation.beginning import Beginning
from agentlm.server.conversation.long_text import check_can_fit, reading
from agentlm.server.models.engine_model import EngineModel
from agentlm.server.openai.answers import Chunks, usage
from agentlm.server.openai.chat_request import SamplingFields, StreamOptions
from agentlm.server.openai.wire import Items, read_request
from agentlm.store import ApiKey
from agentlm.trajectory import Origin, Sampling, Step, Usage

SEVERAL = Field(min_length=1, max_length=2048)
TokenIds = Annotated[Items[int], Field(min_length=1)]


class CompletionRequest(SamplingFields):
    """The body of `POST /v1/completions`."""

    model: str
    prompt: str | TokenIds | Annotated[Items[str], SEVERAL] | Annotated[Items[TokenIds], SEVERAL]
    max_tokens: Annotated[int, Field(ge=0)] = 16
    n: Annotated[int, Field(ge=1, le=16)] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    user: str | None = None

    def sampling(self) -> Sampling:
        return self.sampling_of(self.max_tokens, self.logprobs)

    async def prompts(self, served: EngineModel) -> list[list[int]]:
        """Ids of each prompt. Raises RequestError for prompts of another model and for too long
        ones."""
        renderer, context = served.renderer, served.max_model_len
        prompt: Any = self.prompt
        if isinstance(prompt, str) or isinstance(prompt[0], int):
            prompt = [prompt]
        texts = [each for each in prompt if isinstance(each, str)]
        for text in texts:
            check_can_fit([text], renderer, context, param="prompt")
        prompts: list[list[int]] = prompt
        if texts:
            prompts = await reading(texts, lambda: list(map(renderer.encode_raw, texts)))
        size = renderer.vocabulary_size
        if any(not 0 <= token < size for prompt in prompts for token in prompt):
            raise RequestError(f"token ids must be from 0 to {size - 1}", param="prompt")
        if not all(prompts):
            raise RequestError("a prompt can't be empty", param="prompt")
        for prompt in prompts:
            if len(prompt) + min(self.max_tokens, 1) > context:
                raise ContextLengthError(len(prompt), context, param="prompt")
        return prompts


def read_completion_request(body: Any) -> CompletionRequest:
    """Check a decoded body. Raises RequestError naming the first wrong field."""
    return read_request(CompletionRequest, body, CompletionCreateParamsBase.__annotations__)


@dataclass(frozen=True)
class PromptChoice:
    """One prompt and one of its continuations."""

    prompt: Sequence[int]
    choice: Choice | None
    """None: nothing is generated (`max_tokens: 0`)."""
    scored: Sequence[Sequence[TokenLogprob]]
    """Likelihood of the prompt's tokens, if it is echoed with logprobs."""


async def prepare(chat: Chat, body: CompletionRequest, caller: ApiKey) -> list[PromptChoice]:
    """Read a request, and score the prompts that are echoed. Raises RequestError."""
    served = chat.models.find_own(body.model)
    if body.max_tokens == 0 and not body.echo:
        raise RequestError("max_tokens can only be 0 with echo", param="max_tokens")
    if body.stream and body.echo:
        raise RequestError("echo can't be streamed", param="echo")
    request = _request(body, caller, served)
    await chat.store.ready()
    prompts = await body.prompts(served)
    wanted = body.echo and body.logprobs is not None
    scored = [_score(body, served, caller.name, ids) for ids in prompts if wanted]
    scores = await asyncio.gather(*scored)
    return [
        PromptChoice(
            prompt,
            _choice(chat, request, served, place * body.n + index, prompt)
            if body.max_tokens
            else None,
            scores[place] if wanted else (),
        )
        for place, prompt in enumerate(prompts)
        for index in range(body.n)
    ]


async def _score(
    body: CompletionRequest, served: EngineModel, owner: str, prompt: Sequence[int]
) -> Sequence[Sequence[TokenLogprob]]:
    return await served.engine.score(
        prompt, top_logprobs=body.logprobs or 0, adapter=served.adapter, salt=owner
    )


def _request(body: CompletionRequest, caller: ApiKey, served: EngineModel) -> Request:
    sampling = body.sampling()
    return Request(
        completion_id=f"cmpl-{uuid.uuid4().hex}",
        owner=caller.name,
        created=time.time(),
        served=served,
        messages=(),
        tools=(),
        own=None,
        ask=Ask(
            sampling,
            verbatim=True,
            logprobs=body.logprobs is not None,
            streamed=body.stream,
        ),
        limits=Limits(tokens=body.max_tokens),
        metadata={},
        user=body.user,
        keep=caller.log == "full",
        may_train=caller.may_train,
    )


def _choice(
    chat: Chat, request: Request, served: EngineModel, index: int, prompt: Sequence[int]
) -> Choice:
    renderer = served.renderer
    step = Step(
        role="user",
        origin=Origin.PROMPT,
        text=renderer.decode_verbatim(prompt),
        token_ids=tuple(prompt),
        tokenizer_digest=renderer.digest,
    )
    beginning = Beginning((step,), recorded=0)
    return Choice(request, index, chat.store, chat.metrics, beginning)


def text_completion(
    body: CompletionRequest, served: EngineModel, continuations: Sequence[PromptChoice]
) -> dict[str, Any]:
    """A whole `text_completion`."""
    choices = [each.choice for each in continuations if each.choice is not None]
    request = choices[0].request if choices else None
    parts = [choice.transcript.usage() for choice in choices]
    spent = [Usage(prompt_tokens=len(each.prompt)) for each in continuations]
    return {
        "id": request.completion_id if request else f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(request.created if request else time.time()),
        "model": served.name,
        "choices": [
            _one_choice(body, served, index, each) for index, each in enumerate(continuations)
        ],
        "usage": _usage(parts or spent, len(continuations) // body.n, body.n),
    }


def _usage(parts: Sequence[Usage], prompts: int, n: int) -> dict[str, Any]:
    """Each prompt counts once, whatever its number of continuations."""
    total = usage(parts)
    total["prompt_tokens"] = sum(parts[place * n].prompt_tokens for place in range(prompts))
    total["total_tokens"] = total["prompt_tokens"] + total["completion_tokens"]
    return total


def _one_choice(
    body: CompletionRequest, served: EngineModel, index: int, each: PromptChoice
) -> dict[str, Any]:
    renderer = served.renderer
    echoed = renderer.decode_verbatim(each.prompt) if body.echo else ""
    text = "".join(each.choice.content) if each.choice else ""
    choice: dict[str, Any] = {"index": index, "text": echoed + text, "logprobs": None}
    choice["finish_reason"] = each.choice.transcript.finish_reason if each.choice else "length"
    if body.logprobs is not None:
        tokens: list[Sequence[TokenLogprob]] = []
        if body.echo:
            tokens += [
                scored or [TokenLogprob(token, 0.0)]
                for token, scored in zip(each.prompt, each.scored, strict=True)
            ]
        if each.choice:
            tokens += [
                [TokenLogprob(token.token_id, token.logprob), *token.top]
                for token in each.choice.take_tokens()
            ]
        choice["logprobs"] = _logprobs(tokens, served, first_is_known=not body.echo)
    return choice


def _logprobs(
    tokens: Sequence[Sequence[TokenLogprob]], served: EngineModel, *, first_is_known: bool
) -> dict[str, Any]:
    """The parallel lists of the completions API. A prompt's first token has no probability."""

    def text(token: int) -> str:
        return served.renderer.token_bytes(token).decode(errors="replace")

    offsets, length = [], 0
    for alternatives in tokens:
        offsets.append(length)
        length += len(text(alternatives[0].token_id))
    logprobs: list[float | None] = [max(each[0].logprob, -9999.0) for each in tokens]
    tops: list[dict[str, float] | None] = [
        {text(top.token_id): max(top.logprob, -9999.0) for top in each[1:]} for each in tokens
    ]
    if tokens and not first_is_known:
        logprobs[0] = tops[0] = None
    return {
        "tokens": [text(each[0].token_id) for each in tokens],
        "token_logprobs": logprobs,
        "top_logprobs": tops,
        "text_offset": offsets,
    }


class TextChunks(Chunks):
    """The same events in the format of the completions API."""

    def __init__(
        self, identity: str, created: float, model: str, *, include_usage: bool = False
    ) -> None:
        super().__init__(identity, created, model, include_usage=include_usage)
        self._head = self._head.replace('"chat.completion.chunk"', '"text_completion"', 1)

    def delta(
        self,
        index: int,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        logprobs: list[dict[str, Any]] | None = None,
        **ids: list[int],
    ) -> bytes:
        """One chunk for one choice."""
        choice = {"index": index, "text": delta.get("content", ""), "finish_reason": finish_reason}
        choice["logprobs"] = logprobs and {
            "tokens": [token["token"] for token in logprobs],
            "token_logprobs": [token["logprob"] for token in logprobs],
            "top_logprobs": [
                {top["token"]: top["logprob"] for top in token["top_logprobs"]}
                for token in logprobs
            ],
            "text_offset": [],
        }
        return f"{self._head}{json.dumps(choice, ensure_ascii=False)}{self._tail}".encode()
