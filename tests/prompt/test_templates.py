"""The chat templates that come with AgentLM, as transformers renders them."""

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentlm.models.model_files import shipped_template, shipped_templates

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
]


def rendered(name: str, messages: list[dict[str, str]], generate: bool = True) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(shipped_template(name)).render(
        messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=generate
    )


def test_the_shipped_templates_are_listed() -> None:
    assert shipped_templates() == ["chatml", "llama2"]


def test_chatml_writes_each_message_between_its_marks() -> None:
    assert rendered("chatml", TALK[:3], generate=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n Hi <|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
    )
    assert rendered("chatml", TALK).endswith("Bye<|im_end|>\n<|im_start|>assistant\n")


def test_llama2_has_the_system_text_in_the_first_turn_and_a_bos_for_every_turn() -> None:
    assert rendered("llama2", TALK) == (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]"
    )
    assert rendered("llama2", TALK[1:2]) == "<s>[INST] Hi [/INST]"


def test_llama2_refuses_two_turns_of_one_role() -> None:
    with pytest.raises(jinja2.TemplateError, match="must alternate"):
        rendered("llama2", [*TALK, TALK[-1]])
