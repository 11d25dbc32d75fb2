"""Chat templates in the shapes of published model families, as their conventions describe them.

Written anew and without their tools, in `templates/`; what matters is what each does with turns,
system text, white space and thoughts. The last four are shapes of no family's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from agentlm.prompt.render import Renderer
from support.tiny import tiny_tokenizer_json


class Family(NamedTuple):
    """A template's name, and the tokens that it writes as control tokens."""

    name: str
    special: tuple[str, ...]
    bos: str
    eos: str

    @property
    def template(self) -> str:
        return (Path(__file__).parent / "templates" / f"{self.name}.jinja").read_text()


_CHATML = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
_LLAMA3 = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_R1 = ("<｜begin｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end｜>", "<think>", "</think>")
_GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
_PHI = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")

FAMILIES = {
    "qwen3": Family("qwen3", _CHATML, "", "<|im_end|>"),
    "qwen2.5": Family("qwen2.5", _CHATML[:2], "", "<|im_end|>"),
    "qwq": Family("qwq", _CHATML, "", "<|im_end|>"),
    "r1-distill": Family("r1-distill", _R1, _R1[0], _R1[3]),
    "llama-3": Family("llama-3", _LLAMA3, _LLAMA3[0], _LLAMA3[3]),
    "llama-2": Family("llama-2", ("<s>", "</s>"), "<s>", "</s>"),
    "mistral": Family("mistral", ("<s>", "</s>", "[INST]", "[/INST]"), "<s>", "</s>"),
    "gemma": Family("gemma", _GEMMA, "<bos>", "<eos>"),
    "phi-3": Family("phi-3", _PHI, "", "<|endoftext|>"),
    "generation": Family("generation", _CHATML[:2], "", "<|im_end|>"),
    "newline-with-system": Family("newline-with-system", _CHATML[:2], "", "<|im_end|>"),
    "think-at-once": Family("think-at-once", _CHATML[:2], "", "<|im_end|>"),
}


def renderer_of(family: Family, template: str | None = None, **options: Any) -> Renderer:
    """A renderer whose tokenizer knows the family's control tokens."""
    tokenizer = Tokenizer.from_str(tiny_tokenizer_json("chatml"))
    tokenizer.add_special_tokens(list(family.special))
    text = family.template if template is None else template
    return Renderer(tokenizer.to_str(), text, bos=family.bos, eos=family.eos, **options)
