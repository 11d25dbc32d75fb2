"""The renderer writes exactly the template, and content stays content."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlm.errors import OperatorError
from agentlm.prompt.chat_format import ChatFormat
from agentlm.prompt.render import Renderer, Turn
from agentlm.trajectory import Origin, Step
from support.tiny import tiny_renderer

CHATML = tiny_renderer("chatml")
LLAMA2 = tiny_renderer("llama2")
FIXED = tiny_renderer("llama2", system_prompt="Be kind.", system="fixed")

hostile = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(["<</SYS>>", "<|im_start|>system\n", "<", "s", ">", "[", "INST", "]", " "]),
        st.sampled_from(
            ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>"]
        ),
    ),
    max_size=8,
).map("".join)


def spelled(renderer: Renderer, *turns: Turn, **how: str) -> str:
    ids = [token for step in renderer.open(turns, **how) for token in step.token_ids or ()]
    return renderer.decode_verbatim(ids)


def control(renderer: Renderer, steps: list[Step]) -> list[int]:
    ids = [token for step in steps for token in step.token_ids or ()]
    return [token for token in ids if token in renderer.control_ids]


def test_chatml_is_spelled_as_its_template_says() -> None:
    assert spelled(CHATML, Turn("user", "Hi"), system="Be brief.") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_llama2_is_spelled_as_its_template_says() -> None:
    assert spelled(LLAMA2, Turn("user", "Hi"), system="Be brief.") == (
        "<s> [INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]"
    )


def test_a_fixed_system_prompt_stays_and_the_clients_opens_the_first_turn() -> None:
    text = spelled(FIXED, Turn("user", "Hi"), system="Rhyme.", preamble="Tools: none")

    assert "<<SYS>>\nBe kind.\n<</SYS>>" in text
    assert text.index("Tools: none") < text.index("Rhyme.") < text.index("Hi")


@pytest.mark.parametrize("renderer", [CHATML, LLAMA2])
def test_extending_gives_the_ids_of_rendering_the_whole(renderer: Renderer) -> None:
    first, answer, second = Turn("user", "One?"), Turn("assistant", "Two."), Turn("user", "Three?")
    whole = renderer.open([first, answer, second], system="S")
    grown = renderer.open([first, answer, second][:1], system="S")

    grown_ids = [step.token_ids for step in [*grown, whole[-2], *renderer.extend([second])]]
    assert grown_ids == [step.token_ids for step in whole]
    assert [step.origin for step in whole] == [
        Origin.PROMPT,
        Origin.PROMPT,
        Origin.IMPORTED,
        Origin.PROMPT,
    ]


def test_turns_of_one_role_in_a_row_become_one() -> None:
    merged = CHATML.open([Turn("user", "a"), Turn("user", "b")])

    assert merged[-1].text == "a\n\nb"


@pytest.mark.parametrize("renderer", [CHATML, LLAMA2])
@given(text=hostile)
def test_content_never_becomes_a_control_token(renderer: Renderer, text: str) -> None:
    plain = renderer.open([Turn("user", "x"), Turn("assistant", "x"), Turn("user", "x")])
    steps = renderer.open([Turn("user", text), Turn("assistant", text), Turn("user", text)])
    observed = renderer.extend([Turn("user", text, "call_1")])

    assert control(renderer, steps) == control(renderer, plain)
    assert control(renderer, observed) == control(renderer, renderer.extend([Turn("user", "x")]))


@given(text=hostile)
def test_markers_that_are_ordinary_text_are_broken_in_content(text: str) -> None:
    escaped = LLAMA2.escape(text)

    assert not any(marker in escaped for marker in ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"))
    assert escaped.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("renderer", [CHATML, LLAMA2])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_content_ids_decode_to_the_content(renderer: Renderer, text: str) -> None:
    if renderer is LLAMA2 and "▁" in text:
        return  # sentencepiece's own spelling of a space
    ids = renderer.content.encode("x" + text)

    assert renderer.decode(ids) == "x" + text


@given(text=st.text("ab é\n", min_size=1, max_size=400), budget=st.integers(24, 60))
def test_truncated_content_keeps_its_ends_within_the_budget(text: str, budget: int) -> None:
    cut = CHATML.content.truncate(text, budget, "…{n}…")

    assert len(CHATML.content.encode(cut)) <= budget
    assert cut == text or (text.startswith(cut.split("…")[0]) and text.endswith(cut.split("…")[-1]))


def test_a_template_that_rewrites_the_past_is_noticed() -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' and not loop.last and loop.index < 3 %}{{ m.content }}(old)"
        "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    probed = ChatFormat.probe(template, ["<|im_start|>", "<|im_end|>"], "", "<|im_end|>")

    assert not probed.append_only
    assert CHATML.append_only
    assert LLAMA2.append_only


@pytest.mark.parametrize("template", ["{{ oops(", "{{ messages[0].content }}", "no messages"])
def test_a_template_that_is_none_is_refused(template: str) -> None:
    with pytest.raises(OperatorError, match="chat template"):
        ChatFormat.probe(template, ["<|im_end|>"], "", "<|im_end|>")


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no usable tokenizer"):
        Renderer.load(tmp_path, "")
