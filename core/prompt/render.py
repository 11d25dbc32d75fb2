"""Text to ids: the one renderer that serving, training and evaluation share.

A chat template is a program. What it writes between the contents of a conversation is found by
running it once for each shape of conversation (`chat_format`). When a model is loaded, this is
compared with the template's own output for a dozen conversations. Appending a turn costs only the
turn's own tokens, not the conversation's.

Control text and content are tokenised **separately**, and content never becomes a control token: it
is encoded by a private copy of the tokenizer without added tokens. Markers that are ordinary text
(`[INST]`) are broken by a space if content contains them. There is one exception to the separation:
a single space at the end of a control string is encoded with the content after it, because every
tokenizer in use spells a word that way (`▁Hello`), and the models were trained so.

Templates that rewrite the past (drop old thoughts, move the system prompt) have `append_only =
False`: then a follow-up is rendered anew from the client's messages.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import Tokenizer

from agentlm.errors import OperatorError, RequestError
from agentlm.prompt.chat_format import ChatFormat, Part, PlainMessage
from agentlm.prompt.content import ContentTokenizer, Vocabulary
from agentlm.prompt.shapes import UnusableTemplateError
from agentlm.trajectory import Origin, Step

Settings = Mapping[str, bool | int | float | str]
_PLAIN_WORDS = re.compile(r"[\w .,:/-]{0,64}")
_REMEMBERED_VARIANTS = 32
_REMEMBERED_MARKS = 256
"""Most templates have a handful of control texts, and some more if they write contents' white
space."""


def tokenizer_digest(tokenizer_json: str, template: str, *, thoughts: bool = True) -> str:
    """Identifies a way of rendering: if it is equal, recorded ids can be reused unchanged."""
    form = "" if thoughts else "\0without thoughts"
    return hashlib.sha256((tokenizer_json + "\0" + template + form).encode()).hexdigest()[:16]


class Turn(NamedTuple):
    """One turn of the conversation as the model reads it, already in the grammar's form."""

    role: Literal["user", "assistant"]
    text: str
    tool_call_id: str | None = None
    """On an observation: the id of the call that it answers."""


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
        thoughts: bool = True,
    ) -> None:
        self._template = template, bos, eos
        spec = json.loads(tokenizer_json)
        self._special: dict[str, int] = {
            token["content"]: token["id"] for token in spec["added_tokens"]
        }
        # Longest first: `<|im_start|>` must not be read as a shorter token that it begins with.
        names = sorted(self._special, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, names))})") if names else None
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._names = names
        self._vocabulary = Vocabulary(self._tokenizer, spec)
        self.control_ids = frozenset(self._special.values())
        """Ids of control tokens. Content never has any."""
        self.content = ContentTokenizer(spec, self.control_ids)
        self.digest = tokenizer_digest(tokenizer_json, template, thoughts=thoughts)
        self.thoughts = thoughts
        """Whether the model has to think before it acts; see `preamble.describe`."""
        self._system_prompt = system_prompt
        self._fixed = system == "fixed"
        self._variant = lru_cache(_REMEMBERED_VARIANTS)(self._set)
        self._use({})

    def _use(self, settings: Settings) -> None:
        """Write as the template does with these settings. Raises OperatorError if that fails."""
        self.settings = settings
        """Settings of the template; see `with_settings`."""
        template, bos, eos = self._template
        self.format = ChatFormat.probe(template, self._names, bos, eos, settings)
        strings = self.format.strings()
        self.end_of_turn_id = self._special[self.format.end_of_turn]
        self.append_only = self.format.append_only
        self.control_spellings = tuple(
            name for name in self._names if any(name in text for text in strings)
        )
        """The special tokens that the template writes: no sampled text may contain them."""
        self._marks = lru_cache(_REMEMBERED_MARKS)(self._control)
        self._markers = _text_markers(strings, self._names)

    def with_settings(self, settings: Settings) -> Renderer:
        """The renderer of the same model with these template settings (such as `enable_thinking`).

        Raises RequestError for a name that the template doesn't read, or a value that it can't be
        rendered with.
        """
        if not settings:
            return self
        for name, value in settings.items():
            param = f"chat_template_kwargs.{name}"
            if name not in self.format.settable:
                known = ", ".join(sorted(self.format.settable)) or "nothing that can be set"
                raise RequestError(
                    f"{param}: the model's chat template does not read it; it reads {known}",
                    param=param,
                )
            # The value becomes control text in the prompt, so it must not spell any control token.
            if isinstance(value, str) and not _PLAIN_WORDS.fullmatch(value):
                raise RequestError(
                    f"{param}: letters, digits, spaces and .,:/- make a value, at most 64",
                    param=param,
                )
        # Compared as JSON, because 1, 1.0 and true are the same key of a dictionary.
        return self._variant(json.dumps(dict(settings), sort_keys=True))

    def _set(self, settings: str) -> Renderer:
        variant = copy(self)
        try:
            variant._use(json.loads(settings))
        except OperatorError as error:
            param = "chat_template_kwargs"
            raise RequestError(f"{param}: with {settings} {error}", param=param) from error
        return variant

    @classmethod
    def load(
        cls,
        directory: Path,
        template: str,
        *,
        system_prompt: str | None = None,
        system: Literal["replace", "fixed"] = "replace",
        thoughts: bool = True,
    ) -> Renderer:
        """Load from a model directory (`tokenizer.json`, `tokenizer_config.json`).

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
            thoughts=thoughts,
        )

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, added tokens included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @cached_property
    def longest_token(self) -> int:
        """Bytes of the longest id."""
        return max(len(self.token_bytes(token)) for token in range(self.vocabulary_size))

    def encode_raw(self, text: str) -> list[int]:
        """Ids of a raw prompt: control tokens in it count, and BOS is added if the model wants
        it."""
        [encoding] = self._tokenizer.encode_batch([text])
        return list(encoding.ids)

    def plain(self, text: str) -> tuple[int, ...]:
        """Ids of text that is no conversation: its words, after BOS if the model wants it."""
        before = self._tokenizer.encode_batch([""])[0].ids
        return (*before, *self.content.encode(text, at_start=True))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids without control tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def decode_verbatim(self, ids: Sequence[int]) -> str:
        """Text of ids with control tokens spelt out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one id; empty for an id that the vocabulary doesn't have."""
        return self._vocabulary.bytes_of(token)

    # -- prompts -------------------------------------------------------------------------------

    def open(
        self, turns: Iterable[Turn], *, system: str | None = None, preamble: str = ""
    ) -> list[Step]:
        """Render a conversation from its beginning, up to the header of the assistant's turn.

        `system` is the client's system text, `preamble` the grammar's description of the tools.
        Raises ValueError if the last turn is not the user's.
        """
        steps = self.transcript(turns, system=system, preamble=preamble)
        if not steps or steps[-1].role not in ("user", "tool"):
            raise ValueError("the last turn must be the user's")
        return steps

    def transcript(
        self, turns: Iterable[Turn], *, system: str | None = None, preamble: str = ""
    ) -> list[Step]:
        """Like `open`, for a finished conversation: it may end with the assistant's turn."""
        merged = _merge(turns)
        if merged and merged[0].role == "assistant":
            merged.insert(0, Turn("user", ""))
        system_text, opening = self._place(system, preamble)
        if merged and opening:
            merged[0] = merged[0]._replace(text="\n\n".join([*opening, merged[0].text]))
        return self._steps(merged, system_text)

    def extend(self, turns: Iterable[Turn], past: Sequence[Step] = ()) -> list[Step]:
        """Render what follows `past`, which ends with a finished answer and its end-of-turn id.

        Raises ValueError if the last turn is not the user's.
        """
        merged = _merge(turns)
        if not merged or merged[-1].role != "user":
            raise ValueError("the last turn must be the user's")
        # What follows does not depend on earlier words, only on there being some.
        before = [Turn("user", ""), Turn("assistant", "")]
        system = "" if past and past[0].role == "system" else None
        return self._steps([*before, *merged], system)[-len(merged) :]

    def end_turn(self) -> Step:
        """The end-of-turn for an answer that did not end itself."""
        return Step(
            role="assistant",
            origin=Origin.FORCED,
            text="",
            token_ids=(self.end_of_turn_id,),
            tokenizer_digest=self.digest,
        )

    def force(self, text: str) -> Step:
        """Text that the server puts into the assistant's turn, right after its header."""
        return Step(
            role="assistant",
            origin=Origin.FORCED,
            text=text,
            token_ids=self._control(self.format.answer_lead + text),
            tokenizer_digest=self.digest,
        )

    def _place(self, system: str | None, preamble: str) -> tuple[str | None, list[str]]:
        """Where system text and preamble go: (system turn, openings of the first user turn)."""
        if self._fixed:
            first, opening = self._system_prompt, [part for part in (preamble, system) if part]
        else:
            text = system or self._system_prompt or self.format.default_system
            first, opening = "\n\n".join(part for part in (text, preamble) if part), []
        if first and not self.format.system_role:
            return None, [first, *opening]
        return first or None, opening

    def _steps(self, turns: Sequence[Turn], system: str | None) -> list[Step]:
        if not turns:
            return []
        opening: list[PlainMessage] = [] if system is None else [("system", system)]
        messages: list[PlainMessage] = [*opening, *((turn.role, turn.text) for turn in turns)]
        try:
            parts = self.format.parts(messages, generate=turns[-1].role == "user")
        except UnusableTemplateError as error:
            raise OperatorError(f"the chat template refuses a conversation: {error}") from error
        calls = [None] * len(opening) + [turn.tool_call_id for turn in turns]
        return [
            self._step(part, call, at)
            for at, (part, call) in enumerate(zip(parts, calls, strict=True))
        ]

    def _step(self, part: Part, tool_call_id: str | None, place: int) -> Step:
        texts = [self.escape(text) if at % 2 else text for at, text in enumerate(part.texts)]
        ids: list[int] = []
        for at in range(0, len(texts) - 1, 2):
            ids += self._around(texts[at], texts[at + 1], at_start=not place and not at)
        # A thought is recorded with its marks.
        content = texts[1] if len(texts) == 3 else "".join(texts[:-1])
        return Step(
            role="tool" if tool_call_id and part.role == "user" else part.role,
            origin=Origin.IMPORTED if part.role == "assistant" else Origin.PROMPT,
            text=content,
            token_ids=(*ids, *self._marks(texts[-1])),
            tool_call_id=tool_call_id if part.role == "user" else None,
            tokenizer_digest=self.digest,
        )

    # -- ids -----------------------------------------------------------------------------------

    def escape(self, text: str) -> str:
        """`text` with the template's ordinary-text markers broken by a space."""
        return self._markers.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def _around(self, before: str, content: str, *, at_start: bool) -> list[int]:
        joins = before.endswith(" ") and not before.endswith("  ")
        ids = self._marks(before[:-1] if joins else before, at_start=at_start)
        bare = (at_start and not before) or (bool(ids) and ids[-1] in self.control_ids)
        return [*ids, *self.content.encode(f" {content}" if joins else content, at_start=bare)]

    def _control(self, text: str, *, at_start: bool = False) -> tuple[int, ...]:
        """Ids of control text: special tokens by name, the text between them as text."""
        ids: list[int] = []
        for part in self._split.split(text) if self._split else [text]:
            if part in self._special:
                ids.append(self._special[part])
                at_start = True
            elif part:
                ids += self.content.encode(part, at_start=at_start)
                at_start = False
        return tuple(ids)


def _merge(turns: Iterable[Turn]) -> list[Turn]:
    """Join consecutive turns of one role: templates demand that roles alternate."""
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
    markers: set[str] = set()
    for text in strings:
        for token in special:
            text = text.replace(token, " ")
        markers.update(word for word in text.split() if re.search(r"[\[\]<>#|{}]", word))
    # The marks of a thought separate no turns, and answers to learn from contain them.
    markers -= {"<think>", "</think>"}
    words = sorted((word for word in markers if len(word) > 1), key=len, reverse=True)
    # `(?!)` matches nothing.
    return re.compile("|".join(map(re.escape, words)) or "(?!)")


def _token_text(value: Any) -> str:
    """A token in tokenizer_config.json: a string, an object with `content`, or absent."""
    return str(value["content"]) if isinstance(value, dict) else str(value or "")
