"""What OpenAI's API and vLLM accept is accepted here too, with the same meaning."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agentlm.server.chat.raw_completion import CompletionRequest
from agentlm.server.openai.chat_request import ChatRequest
from agentlm.trajectory import Origin
from support.serving import Serve


def written(role: str, content: str) -> Any:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([written("system", "Say hi.")], [("user", "Say hi.")]),
        ([written("developer", "Say hi.")], [("user", "Say hi.")]),
        (
            [written("system", "Be brief."), written("system", "Say hi.")],
            [("system", "Be brief."), ("user", "Say hi.")],
        ),
        ([written("user", "Hi"), written("system", "Be brief.")], [("user", "Hi\n\nBe brief.")]),
    ],
)
async def test_instructions_may_come_last(serve: Serve, messages: Any, prompt: Any) -> None:
    async with serve("Hi!") as running:
        answer = await running.client.chat.completions.create(model="tiny", messages=messages)
        [trajectory] = running.trajectories()
        counted: Any = await running.client.post(
            f"{running.url}/tokenize", cast_to=object, body={"messages": messages}
        )

        steps = [step for step in trajectory.steps if step.origin is Origin.PROMPT]
        assert [(step.role, step.text) for step in steps][-len(prompt) :] == prompt
        assert answer.choices[0].message.content == "Hi!"
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == counted["count"]


async def test_a_system_message_continues_a_conversation(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        create = running.client.chat.completions.create
        messages: list[Any] = [written("system", "Count.")]
        await create(model="tiny", messages=messages)
        messages += [written("assistant", "One."), written("system", "Go on.")]
        await create(model="tiny", messages=messages)

        [trajectory] = running.trajectories()
        assert len(trajectory.interactions) == 2


async def test_null_is_as_good_as_nothing(serve: Serve) -> None:
    async with serve("One.", "Two.") as running, httpx.AsyncClient(base_url=running.url) as client:
        chat = dict.fromkeys(ChatRequest.model_fields) | {
            "model": "tiny",
            "messages": [written("user", "Hi")],
        }
        raw = dict.fromkeys(CompletionRequest.model_fields) | {"model": "tiny", "prompt": "Hi"}
        answers = [
            await client.post("/v1/chat/completions", json=chat),
            await client.post("/v1/completions", json=raw),
        ]

        assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_top_p_may_be_zero(serve: Serve) -> None:
    async with serve("Hi!") as running:
        await running.client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hi"}], top_p=0
        )

        sampling: Any = running.engine.requests[0].sampling
        assert sampling.top_p == 0


async def test_a_user_stands_beside_the_metadata(serve: Serve) -> None:
    async with serve("One.", "Two.") as running:
        stored = running.client.chat.completions
        asked: Any = {"model": "tiny", "user": "ann", "store": True}
        one = await stored.create(**asked, messages=[written("user", "1")], metadata={"a": "b"})
        two = await stored.create(**asked, messages=[written("user", "2")], metadata={"user": "c"})

        kept = [row.metadata for row in running.trajectories()]
        assert kept == [{"user": "ann", "a": "b"}, {"user": "c"}]
        stored_completions: Any = [await stored.retrieve(each.id) for each in (one, two)]
        assert [each.metadata for each in stored_completions] == [{"a": "b"}, {"user": "c"}]
