"""Semantic Kernel's `OpenAIChatCompletion`, alone and with a plugin."""

from __future__ import annotations

import asyncio
import json

import openai
from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
)
from semantic_kernel.contents import ChatHistory
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import kernel_function

from client_matrix.questions import (
    AGENT,
    ARGUMENTS,
    COMMAND,
    COMMAND_ANSWER,
    FORECAST,
    FORECAST_ANSWER,
    GREETING,
    HELLO,
    KEY,
    MISSING,
    MODEL,
    PLACE,
    PLACE_READ,
    URL,
    check_cancelled,
    counting,
    equal,
    refused,
    weather,
)


class Place(BaseModel):
    name: str
    rivers: int


class Sky:
    asked: list[object]

    def __init__(self) -> None:
        self.asked = []

    @kernel_function(name="weather", description="Tell the weather of a city.")
    def weather(self, city: str, days: int) -> str:
        self.asked.append({"city": city, "days": days})
        return weather(city, days)


def chat(model: str = MODEL) -> OpenAIChatCompletion:
    client = openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0)
    return OpenAIChatCompletion(ai_model_id=model, async_client=client)


def asking(text: str) -> ChatHistory:
    history = ChatHistory()
    history.add_user_message(text)
    return history


async def ask(text: str, model: str = MODEL) -> str:
    settings = OpenAIChatPromptExecutionSettings()
    return str(await chat(model).get_chat_message_content(asking(text), settings))


async def text() -> None:
    equal(await ask(HELLO), GREETING)


async def stream() -> None:
    parts = chat().get_streaming_chat_message_content(
        asking(HELLO), OpenAIChatPromptExecutionSettings()
    )
    texts = [str(part) async for part in parts if str(part)]
    equal("".join(texts), GREETING)
    assert len(texts) > 2, "it came in one piece"


async def tool_call() -> None:
    kernel, sky = Kernel(), Sky()
    kernel.add_plugin(sky, "sky")
    settings = OpenAIChatPromptExecutionSettings(
        function_choice_behavior=FunctionChoiceBehavior.Auto()
    )
    answer = await chat().get_chat_message_content(asking(FORECAST), settings, kernel=kernel)
    equal(sky.asked, [ARGUMENTS])
    equal(str(answer), FORECAST_ANSWER)


async def structured() -> None:
    settings = OpenAIChatPromptExecutionSettings(response_format=Place)
    answer = await chat().get_chat_message_content(asking(PLACE), settings)
    equal(json.loads(str(answer)), PLACE_READ)


async def server_tool() -> None:
    equal(await ask(COMMAND, AGENT), COMMAND_ANSWER)


async def error() -> None:
    failure = (await asyncio.gather(ask(HELLO, MISSING), return_exceptions=True))[0]
    assert isinstance(failure, ServiceResponseException), repr(failure)
    refused(failure.__cause__, openai.NotFoundError)


async def cancel() -> None:
    task = asyncio.create_task(ask(counting(__name__)))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(check_cancelled, __name__)
