"""Text to ids: the one renderer that serving, training and evaluation share.

A chat template is a program, but a conversation only ever *appends*, so what the template writes
between contents is a handful of constant strings. They are found once, when a model is loaded, by
rendering a probe conversation whose contents are sentinels (`ChatFormat.probe`). After that a turn
costs its own tokens, never the conversation's.

Control text and content are tokenised **separately**, and content never becomes a control token:
it is encoded by a private copy of the tokenizer that has no added tokens. Markers that are ordinary
text (`[INST]`) are broken by a space where content holds them. One exception to the separation: a
single space that ends a control string is encoded with the content after it, because that is how
every tokenizer in use spells a word (`▁Hello`), and how the models were trained.

Templates that rewrite the past (dropping old thoughts, moving the system prompt) have
`append_only = False`: a follow-up is then rendered afresh from the client's messages.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import Tokenizer

from agentlm.errors import OperatorError
from agentlm.trajectory import Origin, Step

# Private-use characters: no template and no tokenizer treats them specially.
_SENTINEL = re.compile("\ue000(\\d+)\ue001")


class Turn(NamedTuple):
    """One side of the conversation as the model is shown it, already in the grammar's words."""

    role: Literal["user", "assistant"]
    text: str
    tool_call_id: str | None = None
    """On an observation: the call that it answers."""


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


class ContentTokenizer:
    """A tokenizer that knows no control tokens: whatever a text says, it stays text."""

    def __init__(self, spec: dict[str, Any], control: frozenset[int]) -> None:
        self._control = control
        self._inside = Tokenizer.from_str(json.dumps(_plain(spec, keep_prefix=False)))
        self._at_start = Tokenizer.from_str(json.dumps(_plain(spec, keep_prefix=True)))

    def encode(self, text: str, *, at_start: bool = False) -> list[int]:
        """Ids of `text`; `at_start` where sentencepiece puts its dummy prefix (after BOS)."""
        if not text:
            return []
        encoding = (self._at_start if at_start else self._inside).encode(
            text, add_special_tokens=False
        )
        if self._control.isdisjoint(encoding.ids):
            return list(encoding.ids)
        return self._broken(text, encoding.ids, encoding.offsets)

    def _broken(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> list[int]:
        """Some vocabularies merge letters into a control token: spell those in two parts."""
        out: list[int] = []
        for token, (begin, end) in zip(ids, offsets, strict=True):
            if token not in self._control:
                out.append(token)
            elif end - begin > 1:
                out += self.encode(text[begin : begin + 1]) + self.encode(text[begin + 1 : end])
            # A control id for a single character is the unknown token: nothing can spell it.
        return out

    def truncate(self, text: str, budget: int, note: str) -> str:
        """`text` within `budget` tokens: its head and tail, with `note` between them.

        `note` may hold `{n}`, the number of tokens left out.
        """
        encoding = self._inside.encode(text, add_special_tokens=False)
        if len(encoding.ids) <= budget:
            return text
        room = max(2, budget - len(self.encode(note)) - 4)
        head, tail = room - room // 3, room // 3
        end = encoding.offsets[head - 1][1]
        begin = encoding.offsets[len(encoding.ids) - tail][0]
        return text[:end] + note.format(n=len(encoding.ids) - head - tail) + text[begin:]


def _plain(spec: dict[str, Any], *, keep_prefix: bool) -> dict[str, Any]:
    """The tokenizer.json without added tokens, post-processing and (inside a text) prefix."""
    plain = {**spec, "added_tokens": [], "post_processor": None, "truncation": None}
    plain["padding"] = None
    if not keep_prefix:
        plain["normalizer"] = _without_prefix(spec.get("normalizer"), "normalizers")
        plain["pre_tokenizer"] = _without_prefix(spec.get("pre_tokenizer"), "pretokenizers")
    return plain


def _without_prefix(part: dict[str, Any] | None, children: str) -> dict[str, Any] | None:
    if part is None or part["type"] == "Prepend":
        return None
    if part["type"] == "Sequence":
        kept = [_without_prefix(child, children) for child in part[children]]
        remaining = [child for child in kept if child is not None]
        return {**part, children: remaining} if remaining else None
    if part["type"] == "Metaspace":
        return {**part, "prepend_scheme": "never"}
    if part["type"] == "ByteLevel":
        return {**part, "add_prefix_space": False}
    return part


class Renderer:
    """Renders turns of one model's conversations into steps with exact ids."""

    def __init__(
        self,
        tokenizer_json: str,
        template: str,
        *,
        bos: str = "",
        eos: str = "",
        system_prompt: str | None = None,
        system: Literal["replace", "fixed"] = "replace",
    ) -> None:
        spec = json.loads(tokenizer_json)
        self._special: dict[str, int] = {
            token["content"]: token["id"] for token in spec["added_tokens"]
        }
        # Longest first: `<|im_start|>` must not be read as a shorter token it begins with.
        names = sorted(self._special, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, names))})") if names else None
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self.format = ChatFormat.probe(template, names, bos, eos)
        self.control_ids = frozenset(self._special.values())
        """Ids of control tokens: no content has any."""
        self.content = ContentTokenizer(spec, self.control_ids)
        self.digest = hashlib.sha256((tokenizer_json + "\0" + template).encode()).hexdigest()[:16]
        self.end_of_turn_id = self._special[self.format.end_of_turn]
        self.append_only = self.format.append_only
        self._system_prompt = system_prompt
        self._fixed = system == "fixed"
        self.control_spellings = tuple(
            name for name in names if any(name in text for text in self.format.strings())
        )
        """The special tokens that the template writes: no sampled text may hold them."""
        self._markers = _text_markers(self.format.strings(), names)

    @classmethod
    def load(
        cls,
        directory: Path,
        template: str,
        *,
        system_prompt: str | None = None,
        system: Literal["replace", "fixed"] = "replace",
    ) -> Renderer:
        """From a model directory (`tokenizer.json`, `tokenizer_config.json`).

        Raises OperatorError if a file is missing or broken.
        """
        try:
            tokenizer_json = (directory / "tokenizer.json").read_text()
            config = json.loads((directory / "tokenizer_config.json").read_text())
        except (OSError, ValueError) as error:
            raise OperatorError(f"no usable tokenizer in {directory}: {error}") from error
        return cls(
            tokenizer_json,
            template,
            bos=_token_text(config.get("bos_token")),
            eos=_token_text(config.get("eos_token")),
            system_prompt=system_prompt,
            system=system,
        )

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, added tokens included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids without control tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def decode_verbatim(self, ids: Sequence[int]) -> str:
        """Text of ids with control tokens spelt out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def token_text(self, token: int) -> str:
        """How the vocabulary spells one id; empty for an id that it does not have."""
        return self._tokenizer.id_to_token(token) or ""

    # -- prompts -------------------------------------------------------------------------------

    def open(
        self, turns: Iterable[Turn], *, system: str | None = None, preamble: str = ""
    ) -> list[Step]:
        """A conversation from its beginning, ending in the header of the assistant's turn.

        `system` is the client's system text, `preamble` the grammar's description of the tools.
        Raises ValueError if the last turn is not the user's.
        """
        merged = _merge(turns)
        if merged and merged[0].role == "assistant":
            merged.insert(0, Turn("user", ""))
        system_text, opening = self._place(system, preamble)
        if merged and opening:
            merged[0] = merged[0]._replace(text="\n\n".join([*opening, merged[0].text]))
        steps = []
        lead = self.format.start
        if system_text is not None:
            steps.append(self._system(system_text))
            lead = self.format.system_user
        return steps + self._turns(merged, lead, at_start=not steps)

    def extend(self, turns: Iterable[Turn]) -> list[Step]:
        """What follows a finished assistant turn (its end-of-turn id included in the past)."""
        return self._turns(_merge(turns), self.format.user_open, at_start=False)

    def end_turn(self) -> Step:
        """The end-of-turn of an answer that did not end itself."""
        return Step(
            role="assistant",
            origin=Origin.FORCED,
            text="",
            token_ids=(self.end_of_turn_id,),
            tokenizer_digest=self.digest,
        )

    def force(self, text: str) -> Step:
        """Words put into the assistant's mouth, right after its header."""
        return Step(
            role="assistant",
            origin=Origin.FORCED,
            text=text,
            token_ids=tuple(self._control(self.format.answer_lead + text)),
            tokenizer_digest=self.digest,
        )

    def _place(self, system: str | None, preamble: str) -> tuple[str | None, list[str]]:
        """Where system text and preamble go: (system turn, openings of the first user turn)."""
        if self._fixed:
            return self._system_prompt, [part for part in (preamble, system) if part]
        text = system or self._system_prompt or self.format.default_system
        if self.format.system_open is None:
            return None, [part for part in (text, preamble) if part]
        parts = [part for part in (text, preamble) if part]
        return ("\n\n".join(parts) if parts else None), []

    def _system(self, text: str) -> Step:
        shown = self.escape(text)
        ids = self._around(self.format.system_open or "", shown, self.format.system_close, True)
        return self._step("system", Origin.PROMPT, shown, ids)

    def _turns(self, turns: Sequence[Turn], lead: str, *, at_start: bool) -> list[Step]:
        if not turns or turns[-1].role != "user":
            raise ValueError("the last turn must be the user's")
        steps = []
        for turn in turns:
            shown = self.escape(turn.text)
            if turn.role == "user":
                ids = self._around(lead, shown, self.format.user_close, at_start)
                role: Literal["user", "tool"] = "tool" if turn.tool_call_id else "user"
                steps.append(self._step(role, Origin.PROMPT, shown, ids, turn.tool_call_id))
            else:
                close = self.format.answer_trail + self.format.end_of_turn
                ids = self._around(self.format.answer_lead, shown, close, False)
                steps.append(self._step("assistant", Origin.IMPORTED, shown, ids))
            lead, at_start = self.format.user_open, False
        return steps

    def _step(
        self,
        role: Literal["system", "user", "assistant", "tool"],
        origin: Origin,
        text: str,
        ids: list[int],
        tool_call_id: str | None = None,
    ) -> Step:
        return Step(
            role=role,
            origin=origin,
            text=text,
            token_ids=tuple(ids),
            tool_call_id=tool_call_id,
            tokenizer_digest=self.digest,
        )

    # -- ids -----------------------------------------------------------------------------------

    def escape(self, text: str) -> str:
        """`text` with the template's ordinary-text markers broken by a space."""
        return self._markers.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _around(self, before: str, content: str, after: str, at_start: bool) -> list[int]:
        joins = before.endswith(" ") and not before.endswith("  ")
        ids = self._control(before[:-1] if joins else before, at_start=at_start)
        bare = (at_start and not before) or (bool(ids) and ids[-1] in self.control_ids)
        ids += self.content.encode(f" {content}" if joins else content, at_start=bare)
        return ids + self._control(after)

    def _control(self, text: str, *, at_start: bool = False) -> list[int]:
        """Ids of control text: special tokens by name, the words between them as text."""
        ids: list[int] = []
        for part in self._split.split(text) if self._split else [text]:
            if part in self._special:
                ids.append(self._special[part])
                at_start = True
            elif part:
                ids += self.content.encode(part, at_start=at_start)
                at_start = False
        return ids


def _merge(turns: Iterable[Turn]) -> list[Turn]:
    """Consecutive turns of one role become one: templates demand that roles alternate."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            last = merged[-1]
            merged[-1] = Turn(
                turn.role, f"{last.text}\n\n{turn.text}", last.tool_call_id or turn.tool_call_id
            )
        else:
            merged.append(turn)
    return merged


def _text_markers(strings: Iterable[str], special: Sequence[str]) -> re.Pattern[str]:
    """The words of control text that look like markup and are not special tokens."""
    found: set[str] = set()
    for text in strings:
        for token in special:
            text = text.replace(token, " ")
        found.update(word for word in text.split() if re.search(r"[\[\]<>#|{}]", word))
    words = sorted((word for word in found if len(word) > 1), key=len, reverse=True)
    # `(?!)` matches nothing.
    return re.compile("|".join(map(re.escape, words)) or "(?!)")


def _token_text(value: Any) -> str:
    """A token of tokenizer_config.json: a string, an object with `content`, or absent."""
    return str(value["content"]) if isinstance(value, dict) else str(value or "")
