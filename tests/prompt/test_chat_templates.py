"""Whatever a template does with a conversation, the model is shown just that, or it is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentlm.errors import OperatorError
from agentlm.prompt.render import Renderer, Turn
from agentlm.trajectory import Step
from support.chat_templates import FAMILIES, Family, renderer_of

WORDS = {
    "plain": ("Hi", "Hello!", "How many?", "12.", "Bye", "Bye!"),
    "padded": (" Hi\n", "\n\nHello! ", "\nHow many?", " 12.\n", "\tBye ", "Bye! \n"),
    "thoughts": (
        "Hi",
        "<think>\nHm.\n</think>\n\nHello!",
        "How?",
        "So.\n</think>\n\nSo.",
        "Bye",
        "!",
    ),
}
CASES = [
    (name, words, system, count)
    for name in FAMILIES
    for words in WORDS
    for system in (None, "Be brief.")
    for count in range(1, 7)
]


@cache
def renderer(name: str) -> Renderer:
    return renderer_of(FAMILIES[name])


def jinja(family: Family, messages: Sequence[dict[str, str]], **settings: Any) -> str:
    """As transformers renders, in an environment of the test's own."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = raise_exception
    # To transformers these two tags mark tokens; they write nothing.
    plain = re.sub(r"\{%(-?) *(end)?generation *(-?)%\}", r"{%\1 \2if true \3%}", family.template)
    return environment.from_string(plain.replace("endif true", "endif")).render(
        messages=messages, bos_token=family.bos, eos_token=family.eos, **settings
    )


def spelled(by: Renderer, steps: Sequence[Step]) -> str:
    return by.decode_verbatim([token for step in steps for token in step.token_ids or ()])


def conversation(words: str, system: str | None, count: int) -> list[dict[str, str]]:
    turns = [
        {"role": ("user", "assistant")[at % 2], "content": WORDS[words][at]} for at in range(count)
    ]
    return [{"role": "system", "content": system}, *turns] if system else turns


def rendered(by: Renderer, messages: Sequence[dict[str, str]]) -> list[Step]:
    first = messages[0]["content"] if messages[0]["role"] == "system" else None
    turns = [Turn(it["role"], it["content"]) for it in messages if it["role"] != "system"]
    return by.transcript(turns, system=first)


@pytest.mark.parametrize(("name", "words", "system", "count"), CASES)
def test_a_conversation_is_what_jinja_makes_of_it(
    name: str, words: str, system: str | None, count: int
) -> None:
    family, by = FAMILIES[name], renderer(name)
    messages = conversation(words, system, count)
    generate = count % 2 == 1
    rest = messages
    if system and not by.format.system_role:
        first = {"role": "user", "content": f"{system}\n\n{messages[1]['content']}"}
        rest = [first, *messages[2:]]

    wanted = jinja(family, rest, add_generation_prompt=generate)

    text = spelled(by, rendered(by, messages))
    assert text == (wanted if generate else wanted[: len(text)])
    # Only control text follows the end of the last answer.
    assert not re.sub("|".join(map(re.escape, family.special)), "", wanted[len(text) :]).strip()


@pytest.mark.parametrize("name", FAMILIES)
def test_an_answer_holds_its_own_end_and_no_turn_is_closed_twice(name: str) -> None:
    by = renderer(name)
    steps = rendered(by, conversation("plain", None, 6))

    answers = [step for step in steps if step.role == "assistant"]
    assert [step.text for step in answers] == ["Hello!", "12.", "Bye!"]
    assert all((step.token_ids or ())[-1] == by.end_of_turn_id for step in answers)
    # A default system text closes itself in the first step.
    assert all((step.token_ids or ()).count(by.end_of_turn_id) <= 1 for step in steps[1:])


@pytest.mark.parametrize(
    ("name", "append_only"),
    [
        ("qwen3", False),
        ("qwq", False),
        ("r1-distill", False),
        ("think-at-once", False),
        ("qwen2.5", True),
        ("llama-3", True),
        ("llama-2", True),
        ("mistral", True),
        ("gemma", True),
        ("phi-3", True),
        ("generation", True),
        ("newline-with-system", True),
    ],
)
def test_what_drops_old_thoughts_is_rendered_anew_and_nothing_else(
    name: str, append_only: bool
) -> None:
    assert renderer(name).append_only is append_only


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("name", FAMILIES)
def test_an_observation_goes_on_as_the_template_does(name: str, system: str | None) -> None:
    by = renderer(name)
    whole = rendered(by, conversation("plain", system, 5))

    extended = by.extend([Turn("user", "Bye", "call_1")], whole[:-1])

    assert [step.token_ids for step in extended] == [whole[-1].token_ids]
    assert [step.role for step in extended] == ["tool"]


def test_the_default_of_a_template_stays_beside_the_tools() -> None:
    by = renderer("qwen2.5")

    text = spelled(by, by.open([Turn("user", "Hi")], preamble="Tools: none"))

    assert text.startswith(
        "<|im_start|>system\nBe of use.\n\nTools: none<|im_end|>\n<|im_start|>user"
    )


def test_marks_of_thoughts_are_the_tokenizers_own_where_the_template_writes_them() -> None:
    by = renderer("qwen3")
    mark, words = by.encode_raw("<think>")[0], Turn("user", "<think>")

    [asked, answer] = by.transcript([words, Turn("assistant", "<think>\nHm.\n</think>\n\nYes.")])

    assert mark not in (asked.token_ids or ())
    assert mark in (answer.token_ids or ())
    assert answer.text == "<think>\nHm.\n</think>\n\nYes."


@pytest.mark.parametrize(
    ("body", "difference"),
    [
        ("{{ m.content | upper }}", "it is '.*HI"),
        ("{{ m.content }}{{ m.content }}", "drops, repeats or moves"),
        ("{{ m.content | replace('!', '.') }}", r"it is '.*Hello\..*', not '.*Hello!"),
        ("{{ m.content if 'Final' not in m.content else 'x' }}", "depends on the words"),
        ("{{ 'tool' if 'Observation' in m.content }}{{ m.content }}", "depends on the words"),
        ("{{ m.content | escape }}", r"&lt;"),
        ("{{ m.content[:1000] }}", "depends on the words"),
        ("{{ m.content | truncate(1000) }}", "depends on the words"),
        ("{{ m.content if loop.revindex < 12 }}", "drops, repeats or moves"),
        (
            "{{ raise_exception('no answers') if m.role == 'assistant' }}{{ m.content }}",
            "no answers",
        ),
        ("{{ m.content['x'].y }}", "no attribute 'x'"),
    ],
)
def test_what_can_not_be_written_exactly_is_refused_with_the_difference(
    body: str, difference: str
) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n" + body + "<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )

    with pytest.raises(OperatorError, match=f"(?s)the chat template can't be used.*{difference}"):
        renderer_of(FAMILIES["qwen2.5"], template)
