"""Whether an evaluation's text was trained on, by AgentTuning's rule.

Tokens are words. A token of a sample is dirty if it lies in a run of ten tokens that also stands in
the training texts with at most four tokens changed; a sample is dirty if more than 80% of its
tokens are.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

GRAM = 10
MISMATCHES = 4
DIRTY_SHARE = 0.8


class TrainedTexts:
    """Texts that samples are compared with; each is read once."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._ids: dict[str, int] = {}
        tokens: list[int] = []
        for text in texts:
            tokens += (self._ids.setdefault(word, len(self._ids)) for word in _words(text))
            tokens.append(-1)
        self._tokens: NDArray[np.int32] = np.asarray(tokens, dtype=np.int32)
        ends = self._tokens < 0
        self._ends_within: NDArray[np.int64] = np.cumsum(ends)
        self._ends_before: NDArray[np.int64] = self._ends_within - ends

    def dirty_share(self, sample: str) -> float:
        """Share of the sample's tokens that were trained on."""
        words = _words(sample)
        if not words:
            return 0.0
        # A sample shorter than a run must match completely, with mismatches in proportion.
        length = min(GRAM, len(words))
        allowed = MISMATCHES * length // GRAM
        ids = [self._ids.get(word, -2) for word in words]
        dirty = np.zeros(len(ids), dtype=bool)
        for start in range(len(ids) - length + 1):
            if self._stands(ids[start : start + length], allowed):
                dirty[start : start + length] = True
        return float(dirty.mean())

    def is_dirty(self, sample: str) -> bool:
        """Whether the sample must not be used to evaluate a model trained on these texts."""
        return self.dirty_share(sample) > DIRTY_SHARE

    def _stands(self, run: Sequence[int], allowed: int) -> bool:
        places = len(self._tokens) - len(run) + 1
        if places < 1:
            return False
        # A run never spans two texts.
        whole: NDArray[np.bool_] = self._ends_before[:places] == self._ends_within[len(run) - 1 :]
        matches = np.where(whole, np.int8(0), np.int8(-len(run)))
        for offset, token in enumerate(run):
            if token >= 0:
                matches += self._tokens[offset : offset + places] == token
        return int(matches.max()) >= len(run) - allowed


def _words(text: str) -> list[str]:
    bare = (word.strip(string.punctuation) for word in text.lower().split())
    return [word for word in bare if word]
