"""`/tokenize` and `/detokenize`, as in vLLM: the tokens of a text or a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from agentlm.errors import RequestError
from agentlm.json_size import MAX_ITEMS
from agentlm.prompt.preamble import describe
from agentlm.prompt.render import Renderer
from agentlm.server.chat.request import check_families
from agentlm.server.conversation.beginning import check_can_answer, render, texts
from agentlm.server.conversation.long_text import reading
from agentlm.server.http.body import read_model
from agentlm.server.http.openapi import answers, reads
from agentlm.server.openai.chat_request import Messages, read_conversation
from agentlm.server.openai.tools import WireTools, client_tools, server_families
from agentlm.server.openai.wire import Items, TemplateSettings
from agentlm.server.state import Caller, State

router = APIRouter()


class TokenizeRequest(BaseModel):
    """A raw prompt, or a conversation with its tools."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    tools: WireTools | None = None
    return_token_strs: bool = False
    chat_template_kwargs: TemplateSettings = {}
    """Only for a conversation: settings of the chat template."""


class DetokenizeRequest(BaseModel):
    """Token ids."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    tokens: Items[int] = Field(max_length=MAX_ITEMS)
    return_token_strs: bool = False
    """Not in vLLM's API: also return the text of each token."""


class DetokenizeAnswer(BaseModel):
    """The text of ids."""

    prompt: str
    token_strs: list[str] | None = None
    tokenizer_digest: str | None = None
    """With `token_strs`: the digest of the tokenizer, as in the steps of trajectories."""


@router.post("/tokenize", openapi_extra=reads(TokenizeRequest))
async def tokenize(request: Request, state: State, caller: Caller) -> dict[str, Any]:
    """Ids of a raw prompt (control tokens in it count as such), or of a conversation."""
    body = await read_model(TokenizeRequest, request, state.settings.max_request_bytes)
    served = state.models.find_own(body.model)
    if (body.prompt is None) == (body.messages is None):
        raise RequestError("give either prompt or messages", param="prompt")
    if body.prompt is not None:
        ids = await reading([body.prompt], partial(served.renderer.encode_raw, body.prompt))
    else:
        toolbox, families = state.chat.toolbox, server_families(body.tools)
        check_families(body.tools, caller, toolbox)
        own = toolbox.for_request(families, owner=caller.name).specs() if families else ()
        messages = read_conversation(body.messages or ())
        check_can_answer(messages)
        served = served.with_template(body.chat_template_kwargs)
        tools = (*own, *client_tools(body.tools))
        preamble = describe(tools, thoughts=served.renderer.thoughts)
        rendered = partial(render, served.renderer, messages, preamble)
        steps = await reading([preamble, *texts(messages)], rendered)
        ids = [token for step in steps for token in step.token_ids or ()]
    answer: dict[str, Any] = {"tokens": ids, "count": len(ids)}
    answer["max_model_len"] = served.max_model_len
    if body.return_token_strs:
        answer["token_strs"] = _spelt(served.renderer, ids)
    return answer


@router.post(
    "/detokenize", openapi_extra=reads(DetokenizeRequest), responses=answers(DetokenizeAnswer)
)
async def detokenize(request: Request, state: State, _caller: Caller) -> dict[str, Any]:
    """The text of ids, with control tokens spelled out."""
    body = await read_model(DetokenizeRequest, request, state.settings.max_request_bytes)
    served = state.models.find_own(body.model)
    size = served.renderer.vocabulary_size
    if any(not 0 <= token < size for token in body.tokens):
        raise RequestError(f"token ids must be from 0 to {size - 1}", param="tokens")
    answer: dict[str, Any] = {"prompt": served.renderer.decode_verbatim(body.tokens)}
    if body.return_token_strs:
        answer["token_strs"] = _spelt(served.renderer, body.tokens)
        answer["tokenizer_digest"] = served.renderer.digest
    return answer


def _spelt(renderer: Renderer, tokens: Sequence[int]) -> list[str]:
    return [renderer.token_bytes(token).decode(errors="replace") for token in tokens]
