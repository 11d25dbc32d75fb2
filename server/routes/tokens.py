"""`/tokenize` and `/detokenize`, as vLLM has them: what a text or a conversation costs."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from agentlm.errors import RequestError
from agentlm.prompt.preamble import describe
from agentlm.server.conversation.beginning import check_can_answer, render, texts
from agentlm.server.conversation.long_text import reading
from agentlm.server.http.body import MAX_ITEMS, read_model
from agentlm.server.http.openapi import reads
from agentlm.server.openai.chat_request import (
    Items,
    Messages,
    TemplateSettings,
    WireTools,
    client_tools,
    read_conversation,
    server_families,
)
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
    """Of a conversation: what is set of the chat template."""


class DetokenizeRequest(BaseModel):
    """Token ids."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    tokens: Items[int] = Field(max_length=MAX_ITEMS)


@router.post("/tokenize", openapi_extra=reads(TokenizeRequest))
async def tokenize(request: Request, state: State, _caller: Caller) -> dict[str, Any]:
    """Ids of a raw prompt (markers in it count as control tokens), or of a conversation."""
    body = await read_model(TokenizeRequest, request, state.settings.max_request_bytes)
    served = state.models.find_own(body.model)
    if (body.prompt is None) == (body.messages is None):
        raise RequestError("give either prompt or messages", param="prompt")
    if body.prompt is not None:
        ids = await reading([body.prompt], partial(served.renderer.encode_raw, body.prompt))
    else:
        families = server_families(body.tools)
        own = state.chat.toolbox.for_request(families).specs() if families else ()
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
        spelt = (served.renderer.token_bytes(token) for token in ids)
        answer["token_strs"] = [token.decode(errors="replace") for token in spelt]
    return answer


@router.post("/detokenize", openapi_extra=reads(DetokenizeRequest))
async def detokenize(request: Request, state: State, _caller: Caller) -> dict[str, str]:
    """The text of ids, control tokens spelt out."""
    body = await read_model(DetokenizeRequest, request, state.settings.max_request_bytes)
    served = state.models.find_own(body.model)
    size = served.renderer.vocabulary_size
    if any(not 0 <= token < size for token in body.tokens):
        raise RequestError(f"token ids must be from 0 to {size - 1}", param="tokens")
    return {"prompt": served.renderer.decode_verbatim(body.tokens)}
