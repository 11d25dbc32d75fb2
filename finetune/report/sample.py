"""A row for people, with marks around what is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from agentlm.finetune.data.dataset import Ids, Loss


class Span(NamedTuple):
    """Consecutive tokens that are either all trained on or all not."""

    text: str
    trained: bool


def spans(row: tuple[Ids, Loss], decode: Callable[[Sequence[int]], str]) -> list[Span]:
    """The row's text with control tokens spelled out, split where training begins and ends."""
    ids, loss = row
    pairs = zip(ids.tolist(), loss.tolist(), strict=True)
    return [
        Span(decode([token for token, _ in run]), bool(trained))
        for trained, run in groupby(pairs, key=lambda pair: pair[1])
    ]


def marked(row: tuple[Ids, Loss], decode: Callable[[Sequence[int]], str]) -> str:
    """The row as plain text, with `⟦…⟧` around what the model learns."""
    return "".join(f"⟦{text}⟧" if trained else text for text, trained in spans(row, decode))
