"""What goes wrong is raised as both the openai package and LangChain name it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from langchain_core import exceptions as langchain
from langchain_core.messages import HumanMessage

from agentlm.clients.langchain import ChatAgentLM
from agentlm.errors import UnavailableError
from support.chatting import chat
from support.serving import Reply, Serve

DOWN = UnavailableError("the engine is starting again")
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}


async def read(chunks: AsyncIterator[object]) -> None:
    async for _ in chunks:
        pass


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("reply", "options", "ours", "theirs"),
    [
        ("", {"temperature": 9}, openai.BadRequestError, langchain.ModelInvalidRequestError),
        ("", {"model": "gpt-9"}, openai.NotFoundError, langchain.ModelNotFoundError),
        ("", {"api_key": "wrong"}, openai.AuthenticationError, langchain.ModelAuthenticationError),
        ("slow", {"timeout": 0.05}, openai.APITimeoutError, langchain.ModelTimeoutError),
        (DOWN, {}, openai.APIError, langchain.ModelAPIError),
    ],
)
async def test_an_error_is_of_both_kinds(
    serve: Serve,
    reply: Reply,
    options: dict[str, object],
    ours: type[Exception],
    theirs: type[Exception],
    streamed: bool,
) -> None:
    async with serve(reply, api_key="right", delay_s=0.5 if reply == "slow" else 0) as running:
        model = chat(running, **{"api_key": "right", **options})
        with pytest.raises(ours) as caught:
            await (read(model.astream("Hi")) if streamed else model.ainvoke("Hi"))

        assert isinstance(caught.value, theirs)


async def test_a_conversation_too_long_is_an_overflow(serve: Serve) -> None:
    async with serve(context=64) as running:
        with pytest.raises(langchain.ContextOverflowError) as caught:
            await chat(running).ainvoke("x " * 99)

        assert isinstance(caught.value, openai.BadRequestError)
        assert caught.value.code == "context_length_exceeded"


async def test_an_image_is_refused_by_its_place(serve: Serve) -> None:
    async with serve() as running:
        with pytest.raises(openai.BadRequestError) as caught:
            await chat(running).ainvoke([HumanMessage(["What is this?", IMAGE])])

        assert caught.value.param == "messages[0].content[1].type"


async def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    model = ChatAgentLM(model="tiny", base_url="http://127.0.0.1:9/v1", max_retries=0)

    with pytest.raises(langchain.ModelConnectionError) as caught:
        await model.ainvoke("Hi")

    assert isinstance(caught.value, openai.APIConnectionError)


async def test_the_key_for_openai_is_not_sent_here(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    async with serve(api_key="right") as running:
        with pytest.raises(openai.AuthenticationError):
            await chat(running).ainvoke("Hi")
