"""AutoGen's `OpenAIAgent`, which asks by the Responses API.

It takes no functions and has no streams; of its setting for JSON it makes `text.type`, which is no
field of the API.
"""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken
from autogen_ext.agents.openai import OpenAIAgent

from client_matrix import questions as q
from client_matrix.checks import check_cancelled, equal, holds, wait_until_it_runs


def agent(model: str = q.MODEL, tools: tuple[Any, ...] = ()) -> OpenAIAgent:
    client = openai.AsyncOpenAI(base_url=q.URL, api_key=q.KEY, max_retries=0)
    return OpenAIAgent("assistant", "answers", client, model, "Be brief.", tools)


async def ask(agent: OpenAIAgent, text: str, token: CancellationToken | None = None) -> str:
    message = TextMessage(content=text, source="user")
    answer = await agent.on_messages([message], token or CancellationToken())
    return answer.chat_message.content


async def text() -> None:
    assistant = agent()
    equal(await ask(assistant, q.HELLO), q.GREETING)
    # It sends the history and names the answer that it goes on from, both.
    equal(await ask(assistant, q.HELLO), q.GREETING)


async def server_tool() -> None:
    equal(await ask(agent(tools=(q.BASH,)), q.COMMAND), q.COMMAND_ANSWER)


async def error() -> None:
    # It makes an answer of its errors.
    holds(await ask(agent(q.MISSING), q.HELLO), q.NOT_FOUND)


async def cancel() -> None:
    token = CancellationToken()
    task = asyncio.create_task(ask(agent(), q.counting(__name__), token))
    await asyncio.to_thread(wait_until_it_runs)
    token.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
