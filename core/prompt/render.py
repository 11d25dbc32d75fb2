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
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import Tokenizer

from agentlm.errors import OperatorError
from agentlm.prompt.chat_format import ChatFormat
from agentlm.prompt.content import ContentTokenizer, Vocabulary
from agentlm.trajectory import Origin, Step


def tokenizer_digest(tokenizer_json: str, template: str, *, thoughts: bool = True) -> str:
    """Names a way of rendering: where it is equal, recorded ids can be reused as they are."""
    form = "" if thoughts else "\0without thoughts"
    return hashlib.sha256((tokenizer_json + "\0" + template + form).encode()).hexdigest()[:16]


class Turn(NamedTuple):
    """One side of the conversation as the model is shown it, already in the grammar's words."""

    role: Literal["user", "assistant"]
    text: str
    tool_call_id: str | None = None
    """On an observation: the call that it answers."""


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
        spec = json.loads(tokenizer_json)
        self._special: dict[str, int] = {
            token["content"]: token["id"] for token in spec["added_tokens"]
        }
        # Longest first: `<|im_start|>` must not be read as a shorter token it begins with.
        names = sorted(self._special, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, names))})") if names else None
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self.format = ChatFormat.probe(template, names, bos, eos)
        self._vocabulary = Vocabulary(self._tokenizer, spec)
        self.control_ids = frozenset(self._special.values())
        """Ids of control tokens: no content has any."""
        self.content = ContentTokenizer(spec, self.control_ids)
        self.digest = tokenizer_digest(tokenizer_json, template, thoughts=thoughts)
        self.thoughts = thoughts
        """Whether the model is told to think before it acts; see `grammar.describe`."""
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
        thoughts: bool = True,
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
        """Ids of a raw prompt: control tokens in it count, and BOS is added as the model wants."""
        [encoding] = self._tokenizer.encode_batch([text])
        return list(encoding.ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids without control tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def decode_verbatim(self, ids: Sequence[int]) -> str:
        """Text of ids with control tokens spelt out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def token_bytes(self, token: int) -> bytes:
        """What one id stands for; empty for an id that the vocabulary does not have."""
        return self._vocabulary.bytes_of(token)

    # -- prompts -------------------------------------------------------------------------------

    def open(
        self, turns: Iterable[Turn], *, system: str | None = None, preamble: str = ""
    ) -> list[Step]:
        """A conversation from its beginning, ending in the header of the assistant's turn.

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
        """As `open`, of a conversation that is over: it may end with the assistant's turn."""
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
        """What follows a finished assistant turn (its end-of-turn id included in the past).

        Raises ValueError if the last turn is not the user's.
        """
        merged = _merge(turns)
        if not merged or merged[-1].role != "user":
            raise ValueError("the last turn must be the user's")
        return self._turns(merged, self.format.user_open, at_start=False)

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
