"""What a chat template writes between contents, found by rendering sentinels."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentlm.errors import OperatorError

# Private-use characters: no template and no tokenizer treats them specially.
_SENTINEL = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class ChatFormat:
    """The constant strings between contents, for ChatML and Llama-2 (`·` is content).

    | field         | ChatML                                       | Llama-2                     |
    |---------------|----------------------------------------------|-----------------------------|
    | `start`       | `<|im_start|>user\\n`                         | `<s>[INST] `                |
    | `system_open` | `<|im_start|>system\\n`                       | `<s>[INST] <<SYS>>\\n`       |
    | `system_close`| `<|im_end|>`                                 | `\\n<</SYS>>\\n\\n`           |
    | `system_user` | `\\n<|im_start|>user\\n`                       | (empty)                     |
    | `user_close`  | `<|im_end|>\\n<|im_start|>assistant\\n`        | ` [/INST]`                  |
    | `answer_lead` | (empty)                                      | one space                   |
    | `answer_trail`| (empty)                                      | one space                   |
    | `end_of_turn` | `<|im_end|>`                                 | `</s>`                      |
    | `user_open`   | `\\n<|im_start|>user\\n`                       | `<s>[INST] `                |
    """

    start: str
    system_open: str | None
    """None: the template knows no system role; system text opens the first user turn."""
    system_close: str
    system_user: str
    default_system: str | None
    """What the template itself says where no system text is given."""
    user_close: str
    answer_lead: str
    answer_trail: str
    end_of_turn: str
    user_open: str
    append_only: bool

    @classmethod
    def probe(cls, template: str, special: Sequence[str], bos: str, eos: str) -> ChatFormat:
        """Find the strings. Raises OperatorError if the template is no chat template we can use."""
        render = _compile(template, bos, eos)
        try:
            single = _gaps(render(["user"]))
            gaps = _gaps(render(["user", "assistant", "user", "assistant", "user"]))
        except _TemplateError as error:
            raise OperatorError(f"the chat template can't be used: {error}") from error
        if len(single) != 2 or len(gaps) != 6:
            raise OperatorError("the chat template drops or repeats messages")
        start, first_close = single
        trail, end_of_turn, user_open = _split_at_special(gaps[2], special)
        if not end_of_turn:
            raise OperatorError(
                "the chat template ends the assistant's turn with no special token, so the end of "
                f"an answer can't be seen; it writes {gaps[2]!r}"
            )
        regular = gaps[0] == start and gaps[1] == gaps[3] and gaps[2] == gaps[4]
        system_open, system_close, system_user, default = _probe_system(render, start, special)
        return cls(
            start=start,
            system_open=system_open,
            system_close=system_close,
            system_user=system_user,
            default_system=default,
            user_close=first_close,
            answer_lead=gaps[1].removeprefix(first_close),
            answer_trail=trail,
            end_of_turn=end_of_turn,
            user_open=user_open,
            append_only=regular and gaps[1].startswith(first_close) and gaps[5] == first_close,
        )

    def strings(self) -> list[str]:
        """All control strings."""
        return [
            self.start,
            self.system_open or "",
            self.system_close,
            self.system_user,
            self.user_close,
            self.user_open,
        ]


class _TemplateError(Exception):
    pass


def _compile(template: str, bos: str, eos: str) -> Any:
    """A function from roles to the text that the template writes around sentinels."""
    from jinja2 import TemplateError  # a serving dependency: rendering alone must not need it
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = refuse
    # A date in the prompt would make equal conversations differ; templates test for its presence.
    environment.globals["strftime_now"] = lambda _format: "26 Jul 2024"

    def render(roles: Sequence[str]) -> str:
        messages = [
            {"role": role, "content": f"\ue000{index}\ue001"} for index, role in enumerate(roles)
        ]
        try:
            return environment.from_string(template).render(
                messages=messages,
                add_generation_prompt=True,
                bos_token=bos,
                eos_token=eos,
                tools=None,
            )
        except (TemplateError, TypeError) as error:
            raise _TemplateError(str(error)) from error

    return render


def _gaps(text: str) -> list[str]:
    """What stands before, between and after the sentinels."""
    return _SENTINEL.split(text)[::2]


def _split_at_special(text: str, special: Sequence[str]) -> tuple[str, str, str]:
    """(before, first special token, after); the last two empty if there is none."""
    found = re.search("|".join(re.escape(token) for token in special), text) if special else None
    if not found:
        return text, "", ""
    return text[: found.start()], found.group(), text[found.end() :]


def _probe_system(
    render: Any, start: str, special: Sequence[str]
) -> tuple[str | None, str, str, str | None]:
    try:
        gaps = _gaps(render(["system", "user"]))
    except _TemplateError:
        return None, "", "", None
    if len(gaps) != 3:
        return None, "", "", None
    opened, between, _ = gaps
    before, token, after = _split_at_special(between, special)
    close, user = (before + token, after) if token else (between, "")
    default = None
    if start.startswith(opened) and start.endswith(between) and len(start) > len(opened + between):
        default = start[len(opened) : -len(between)]
    return opened, close, user, default
