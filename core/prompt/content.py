"""Content to ids, and ids to bytes: tokenising without control tokens."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tokenizers import Tokenizer


class ContentTokenizer:
    """A tokenizer without control tokens: every text is encoded as ordinary text."""

    def __init__(self, spec: dict[str, Any], control: frozenset[int]) -> None:
        self._control = control
        self._inside = Tokenizer.from_str(json.dumps(_plain(spec, keep_prefix=False)))
        self._at_start = Tokenizer.from_str(json.dumps(_plain(spec, keep_prefix=True)))

    def encode(self, text: str, *, at_start: bool = False) -> list[int]:
        """Ids of `text`. `at_start` marks where sentencepiece adds its dummy prefix (after BOS)."""
        if not text:
            return []
        tokenizer = self._at_start if at_start else self._inside
        # A batch, because only then the tokenizer releases the interpreter lock.
        [encoding] = tokenizer.encode_batch([text], add_special_tokens=False)
        if self._control.isdisjoint(encoding.ids):
            return list(encoding.ids)
        return self._broken(text, encoding.ids, encoding.offsets)

    def _broken(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> list[int]:
        """Some vocabularies merge letters into a control token: spell those letters in two
        parts."""
        out: list[int] = []
        for token, (begin, end) in zip(ids, offsets, strict=True):
            if token not in self._control:
                out.append(token)
            elif end - begin > 1:
                out += self.encode(text[begin : begin + 1]) + self.encode(text[begin + 1 : end])
            # A control id for a single character is the unknown token: no spelling avoids it.
        return out

    def truncate(self, text: str, budget: int, note: str) -> str:
        """`text` cut to `budget` tokens: its head and tail, with `note` between them.

        `note` may contain `{n}`, the number of tokens left out.
        """
        [encoding] = self._inside.encode_batch([text], add_special_tokens=False)
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


class Vocabulary:
    """The bytes of each id, for byte-level and sentencepiece vocabularies."""

    def __init__(self, tokenizer: Tokenizer, spec: dict[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._byte_level = '"ByteLevel"' in json.dumps(spec.get("decoder"))

    def bytes_of(self, token: int) -> bytes:
        """Empty for an id that the vocabulary doesn't have."""
        spelling = self._tokenizer.id_to_token(token) or ""
        if self._byte_level:
            table = _byte_of_character()
            if all(character in table for character in spelling):
                return bytes(table[character] for character in spelling)
            return spelling.encode()
        if len(spelling) == 6 and spelling.startswith("<0x") and spelling.endswith(">"):
            return bytes([int(spelling[3:5], 16)])
        return spelling.replace("▁", " ").encode()


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's byte-level alphabet: printable bytes stand for themselves, others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}
