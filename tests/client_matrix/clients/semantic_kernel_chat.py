"""Semantic Kernel's `OpenAIChatCompletion`, alone and with a plugin."""

from __future__ import annotations

import json

import openai
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
)
from semantic_kernel.contents import ChatHistory
from semantic_kernel.exceptions import ServiceResponseException

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_awaited, in_pieces, refused
from client_matrix.semantic_kernel_parts import Sky, openai_client


def chat(model: str = q.MODEL) -> OpenAIChatCompletion:
    return OpenAIChatCompletion(ai_model_id=model, async_client=openai_client())


def asking(text: str) -> ChatHistory:
    history = ChatHistory()
    history.add_user_message(text)
    return history


async def ask(text: str, model: str = q.MODEL) -> str:
    settings = OpenAIChatPromptExecutionSettings()
    return str(await chat(model).get_chat_message_content(asking(text), settings))


async def text() -> None:
    equal(await ask(q.HELLO), q.GREETING)


async def stream() -> None:
    parts = chat().get_streaming_chat_message_content(
        asking(q.HELLO), OpenAIChatPromptExecutionSettings()
    )
    texts = [str(part) async for part in parts if str(part)]
    in_pieces(texts)


async def tool_call() -> None:
    kernel, sky = Kernel(), Sky()
    kernel.add_plugin(sky, "sky")
    settings = OpenAIChatPromptExecutionSettings(
        function_choice_behavior=FunctionChoiceBehavior.Auto()
    )
    answer = await chat().get_chat_message_content(asking(q.FORECAST), settings, kernel=kernel)
    equal(sky.asked, [q.ARGUMENTS])
    equal(str(answer), q.FORECAST_ANSWER)


async def structured() -> None:
    settings = OpenAIChatPromptExecutionSettings(response_format=q.Place)
    answer = await chat().get_chat_message_content(asking(q.PLACE), settings)
    equal(json.loads(str(answer)), q.PLACE_READ)


async def server_tool() -> None:
    equal(await ask(q.COMMAND, q.AGENT), q.COMMAND_ANSWER)


async def error() -> None:
    failure = await error_awaited(ask(q.HELLO, q.MISSING))
    assert isinstance(failure, ServiceResponseException), repr(failure)
    refused(failure.__cause__, openai.NotFoundError)


async def cancel() -> None:
    await check_cancels(ask(q.counting(__name__)), __name__)
