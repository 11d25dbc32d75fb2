"""Asking ChatAgentLM in each of the four ways that LangChain has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

from agentlm.clients.langchain import ChatAgentLM
from support.serving import Running

CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
FINAL = "Thought: I know.\nFinal Answer: Done."
CLIENT_CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
BASH = {"type": "bash"}

Model = Runnable[LanguageModelInput, AIMessage]
Way = Callable[[Model, LanguageModelInput], Awaitable[AIMessage]]


async def invoke(model: Model, messages: LanguageModelInput) -> AIMessage:
    return await asyncio.to_thread(model.invoke, messages)


async def ainvoke(model: Model, messages: LanguageModelInput) -> AIMessage:
    return await model.ainvoke(messages)


async def stream(model: Model, messages: LanguageModelInput) -> AIMessage:
    return joined(await asyncio.to_thread(lambda: list(model.stream(messages))))


async def astream(model: Model, messages: LanguageModelInput) -> AIMessage:
    return joined([chunk async for chunk in model.astream(messages)])


def joined(chunks: Sequence[Any]) -> AIMessage:
    first, *rest = chunks
    assert isinstance(first, AIMessageChunk)
    whole: AIMessage = first + rest
    return whole


in_every_way = pytest.mark.parametrize("ask", [invoke, ainvoke, stream, astream])


def chat(running: Running, **options: Any) -> ChatAgentLM:
    settings = {"model": "tiny", "base_url": f"{running.url}/v1", "max_retries": 0, **options}
    return ChatAgentLM(**settings)


@tool
def lookup(key: str) -> str:
    """Look a key up."""
    return f"the value of {key}"
