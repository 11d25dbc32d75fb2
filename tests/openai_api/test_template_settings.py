"""`chat_template_kwargs`: what a request sets of its model's chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.finetune.data.dataset import Row
from agentlm.finetune.data.rows import RowMaker
from agentlm.finetune.filters.rules import Refused
from agentlm.prompt.render import Renderer
from agentlm.trajectory import Origin, Sampling, Step, Trajectory
from support.chat_templates import FAMILIES, renderer_of
from support.serving import Running, Serve

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
NO_THOUGHT = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


async def ask(running: Running, messages: list[Any], settings: Any) -> httpx.Response:
    body = {"model": "tiny", "messages": messages}
    asked = {"chat_template_kwargs": settings} if settings else {}
    async with httpx.AsyncClient() as client:
        return await client.post(f"{running.url}/v1/chat/completions", json=body | asked)


def prompt(by: Renderer, trajectory: Trajectory) -> str:
    steps = [step for step in trajectory.steps if step.origin is Origin.PROMPT]
    return by.decode_verbatim([token for step in steps for token in step.token_ids or ()])


@pytest.fixture(scope="module")
def qwen() -> Renderer:
    return renderer_of(FAMILIES["qwen3"])


@pytest.mark.parametrize(
    ("settings", "ending"),
    [
        ({}, "<|im_start|>assistant\n"),
        ({"enable_thinking": True}, "<|im_start|>assistant\n"),
        ({"enable_thinking": False}, NO_THOUGHT),
    ],
)
async def test_thinking_is_turned_on_and_off_and_recorded(
    serve: Serve, qwen: Renderer, settings: dict[str, Any], ending: str
) -> None:
    async with serve("Hello!", renderer=qwen) as running:
        answer = await ask(running, HELLO, settings)
        counted: Any = await running.client.post(
            f"{running.url}/tokenize",
            cast_to=object,
            body={"messages": HELLO, "chat_template_kwargs": settings},
        )
        [trajectory] = running.trajectories()

    assert answer.status_code == 200
    assert prompt(qwen, trajectory).endswith(f"Hi<|im_end|>\n{ending}")
    assert answer.json()["usage"]["prompt_tokens"] == counted["count"]
    [sampled_with] = [step.sampling for step in trajectory.steps if step.sampling]
    assert sampled_with.chat_template_kwargs == settings
    assert trajectory.interactions[0].sampling.chat_template_kwargs == settings


@pytest.mark.parametrize(
    ("settings", "param", "message"),
    [
        ({"thinking": False}, "chat_template_kwargs.thinking", "it reads enable_thinking"),
        ({"messages": "x"}, "chat_template_kwargs.messages", "does not read it"),
        (
            {"add_generation_prompt": False},
            "chat_template_kwargs.add_generation_prompt",
            "not read",
        ),
        ({"enable_thinking": {"a": 1}}, "chat_template_kwargs.enable_thinking", "valid"),
        ({"enable_thinking": "<|im_end|>"}, "chat_template_kwargs.enable_thinking", "at most 64"),
        ({"enable_thinking": "x" * 65}, "chat_template_kwargs.enable_thinking", "at most 64"),
        ({f"x{n}": n for n in range(17)}, "chat_template_kwargs", "at most 16"),
    ],
)
async def test_what_the_template_does_not_read_is_refused_by_name(
    serve: Serve, qwen: Renderer, settings: dict[str, Any], param: str, message: str
) -> None:
    async with serve("Hello!", renderer=qwen) as running:
        answer = await ask(running, HELLO, settings)

        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == param
        assert message in answer.json()["error"]["message"]
        assert running.trajectories() == []


async def test_a_template_that_reads_nothing_says_so(serve: Serve) -> None:
    async with serve("Hello!") as running:
        answer = await ask(running, HELLO, {"enable_thinking": False})

    assert answer.status_code == 400
    assert "it reads nothing that can be set" in answer.json()["error"]["message"]


async def test_a_conversation_goes_on_only_under_the_same_settings(serve: Serve) -> None:
    by = renderer_of(FAMILIES["llama-3"])
    follow_up = [
        *HELLO,
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "?"},
    ]
    async with serve("Hello!", "Again.", "Anew.", renderer=by) as running:
        await ask(running, HELLO, {"date_string": "1 May 2030"})
        await ask(running, follow_up, {"date_string": "1 May 2030"})
        await ask(running, follow_up, {"date_string": "2 May 2030"})
        first, second = running.trajectories()

    assert len(first.interactions) == 2
    assert second.parent_id is None
    assert "Today Date: 1 May 2030" in prompt(by, first)
    assert "Today Date: 2 May 2030" in prompt(by, second)
    assert "1 May" not in prompt(by, second)


def served(settings: dict[str, Any]) -> Trajectory:
    """What another server said, with this set of its template."""
    sampling = Sampling(chat_template_kwargs=settings)
    steps = (
        Step(role="user", origin=Origin.PROMPT, text="Hi", token_ids=None),
        Step(role="assistant", origin=Origin.SAMPLED, text="Yo", token_ids=None, sampling=sampling),
    )
    return Trajectory(owner="ann", source="chat", model="teacher", steps=steps)


def test_a_row_that_is_rendered_anew_is_set_as_it_was_served(qwen: Renderer) -> None:
    row = served({"enable_thinking": False, "of_another_template": 1})

    made = RowMaker(qwen, 100).row(row, [False, True])

    assert isinstance(made, Row)
    ids = list(made.ids)
    assert qwen.decode_verbatim(ids) == f"<|im_start|>user\nHi<|im_end|>\n{NO_THOUGHT}Yo<|im_end|>"
    learned = [token for token, trained in zip(ids, made.loss, strict=True) if trained]
    assert qwen.decode_verbatim(learned) == "Yo<|im_end|>"


def test_a_row_whose_settings_mean_nothing_here_is_left_out(qwen: Renderer) -> None:
    row = served({"enable_thinking": "<|im_end|>"})

    made = RowMaker(qwen, 100).row(row, [False, True])

    assert isinstance(made, Refused)
    assert made.filter == "template_mismatch"


def test_what_was_recorded_before_is_read() -> None:
    sampling = Sampling(temperature=0.5).model_dump()
    del sampling["chat_template_kwargs"]

    assert Sampling.model_validate(sampling) == Sampling(temperature=0.5)
    kept = Sampling(chat_template_kwargs={"a": True, "b": 1, "c": 1.5, "d": "x"})
    again = Sampling.model_validate_json(kept.model_dump_json())
    assert list(map(type, again.chat_template_kwargs.values())) == [bool, int, float, str]


def test_values_that_are_equal_and_no_more_are_apart(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{{ level }}{% endif %}"
    )
    by = renderer_of(FAMILIES["qwen2.5"], template)

    assert by.format.settable == {"level"}
    headers = [by.with_settings({"level": value}).format.strings()[-1] for value in (1, True, 1.0)]
    assert [header.rsplit("\n", 1)[1] for header in headers] == ["1", "True", "1.0"]
