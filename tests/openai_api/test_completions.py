"""Raw completions: the prompt as it is, its continuation verbatim, and how likely both are."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types import Completion

from agentlm.trajectory import Origin
from support.serving import Reply, Serve


async def test_a_prompt_is_continued_verbatim(serve: Serve) -> None:
    async with serve(" world \n") as running:
        answer = await running.client.completions.create(model="tiny", prompt="Hello")
        [trajectory] = running.trajectories()

        assert answer.choices[0].text == " world \n"
        assert list(running.engine.requests[0].prompt_ids) == running.served.renderer.encode_raw(
            "Hello"
        )
        assert [step.origin for step in trajectory.steps] == [Origin.PROMPT, Origin.SAMPLED]
        assert trajectory.interactions[0].completion_id == answer.id
        Completion.model_validate(answer.model_dump(), strict=True)


async def test_prompts_come_as_texts_or_ids_and_each_has_its_choices(serve: Serve) -> None:
    async with serve("a", "b", "c", "d") as running:
        answer = await running.client.completions.create(model="tiny", prompt=["x", "y"], n=2)
        by_ids = await running.client.completions.create(
            model="tiny", prompt=[5, 6], echo=True, max_tokens=0
        )

        assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
        assert len(running.trajectories()) == 4
        assert by_ids.choices[0].text == running.served.renderer.decode_verbatim([5, 6])


@pytest.mark.parametrize(("prompts", "named"), [(2, 2), (300, 0)])
async def test_a_header_names_the_trajectories_unless_it_gets_too_long(
    serve: Serve, prompts: int, named: int
) -> None:
    async with serve(*["on"] * prompts) as running:
        answer = await running.client.completions.with_raw_response.create(
            model="tiny", prompt=["x"] * prompts
        )

        assert answer.headers.get("x-trajectory-id", "").count("traj_") == named
        assert len(answer.parse().choices) == prompts


async def test_a_streamed_completion_is_the_whole_one(serve: Serve) -> None:
    async with serve(" one two", " one two") as running:
        asked: dict[str, Any] = {"model": "tiny", "prompt": "Hi", "logprobs": 0}
        whole: Any = await running.client.completions.create(**asked)
        stream = await running.client.completions.create(**asked, stream=True)
        chunks = [chunk async for chunk in stream]
        likelihoods = [chunk.choices[0].logprobs for chunk in chunks]

        assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
        assert [t for part in likelihoods if part for t in part.tokens] == whole.choices[
            0
        ].logprobs.tokens
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert {chunk.object for chunk in chunks} == {"text_completion"}


async def test_echo_and_logprobs_tell_how_likely_a_prompt_is(serve: Serve) -> None:
    async with serve() as running:
        answer = await running.client.completions.create(
            model="tiny", prompt="Hello world", echo=True, logprobs=1, max_tokens=0
        )
        likelihoods: Any = answer.choices[0].logprobs

        assert "".join(likelihoods.tokens) == answer.choices[0].text == "Hello world"
        assert likelihoods.token_logprobs[0] is None
        assert all(logprob == -0.5 for logprob in likelihoods.token_logprobs[1:])
        assert likelihoods.text_offset[0] == 0
        assert (
            len(likelihoods.tokens) == len(likelihoods.top_logprobs) == len(likelihoods.text_offset)
        )
        assert running.trajectories() == []


@pytest.mark.parametrize("at_once", ["", "é", " on"])
async def test_the_token_after_a_scored_prompt_is_told_whatever_it_spells(
    serve: Serve, at_once: Reply
) -> None:
    async with serve(at_once) as running:
        answer = await running.client.completions.create(
            model="tiny", prompt="Hello world", echo=True, logprobs=1, max_tokens=1
        )
        likelihoods: Any = answer.choices[0].logprobs

        prompt = running.served.renderer.encode_raw("Hello world")
        # How lm-eval reads likelihoods: the last token is the one that it asked for in vain.
        assert len(likelihoods.token_logprobs[:-1]) == len(prompt)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"echo": True, "stream": True}, "echo"),
        ({"stop": ""}, "stop"),
        ({"extra_body": {"tempratur": 0.3}}, "tempratur"),
        ({"extra_body": {"response_format": {"type": "json_object"}}}, "response_format"),
    ],
)
async def test_a_wrong_field_is_named(serve: Serve, change: Any, param: str) -> None:
    async with serve() as running:
        with pytest.raises(openai.BadRequestError) as caught:
            await running.client.completions.create(**{"model": "tiny", "prompt": "Hi"} | change)

        assert caught.value.param == param


async def test_what_is_openais_but_not_ours_is_refused(serve: Serve) -> None:
    async with serve() as running:
        for name, value in {"suffix": "and on", "best_of": 4}.items():
            asked: Any = {"model": "tiny", "prompt": "Hi", name: value}
            with pytest.raises(openai.BadRequestError, match="is not supported") as caught:
                await running.client.completions.create(**asked)

            assert caught.value.param == name


async def test_a_key_to_run_it_once_is_refused_rather_than_ignored(serve: Serve) -> None:
    async with serve() as running:
        with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
            await running.client.completions.create(
                model="tiny", prompt="Hi", extra_headers={"Idempotency-Key": "a"}
            )

        assert running.trajectories() == []
