"""LlamaIndex's `OpenAILike` and `OpenAILikeResponses`, alone and under its function agent."""

from __future__ import annotations

import openai
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses

from client_matrix import questions as q
from client_matrix.checks import check_cancels, equal, error_of, in_pieces, refused


def chat(model: str = q.MODEL) -> OpenAILike | OpenAILikeResponses:
    options = {"is_function_calling_model": True, "max_retries": 0, "context_window": 8192}
    server = {"api_base": q.URL, "api_key": q.KEY}
    if q.WIRE == "responses":
        return OpenAILikeResponses(model=model, **server, **options)
    return OpenAILike(model=model, is_chat_model=True, **server, **options)


def text() -> None:
    equal(chat().complete(q.HELLO).text, q.GREETING)


def stream() -> None:
    texts = [part.delta for part in chat().stream_complete(q.HELLO) if part.delta]
    in_pieces(texts)


async def tool_call() -> None:
    tool = FunctionTool.from_defaults(q.weather)
    agent = FunctionAgent(tools=[tool], llm=chat(), streaming=True)
    answer = await agent.run(q.FORECAST)
    equal(answer.tool_calls[0].tool_kwargs, q.ARGUMENTS)
    equal(answer.response.content, q.FORECAST_ANSWER)


def structured() -> None:
    answer = chat().as_structured_llm(q.Place).complete(q.PLACE)
    equal(answer.raw.model_dump(), q.PLACE_READ)


def server_tool() -> None:
    equal(chat(q.AGENT).complete(q.COMMAND).text, q.COMMAND_ANSWER)


def error() -> None:
    refused(error_of(lambda: chat(q.MISSING).complete(q.HELLO)), openai.NotFoundError)


async def cancel() -> None:
    # Over Responses it has none kept.
    asked = chat().acomplete(q.counting(__name__))
    await check_cancels(asked, __name__, kept=q.WIRE == "chat")
