"""The leak check: no row that contains an evaluation task is trained on.

`overlap` is the paper's rule for one pair of texts. Comparing every row with every task by it would
take days. A task can only be dirty if the row has half of its words, which an index tells at once,
and only those tasks are aligned word by word.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentlm.errors import OperatorError
from agentlm.files import json_lines
from agentlm.finetune.filters.dedupe import own_text
from agentlm.finetune.filters.overlap import DIRTY_SHARE, GRAM, MISMATCHES, TrainedTexts
from agentlm.trajectory import Trajectory

_FEWEST_SHARED = DIRTY_SHARE * (GRAM - MISMATCHES) / GRAM
_TEXT_KEYS = ("description", "question", "instruction", "prompt", "text", "task")


class Leaks:
    """Leaves out rows that contain an evaluation task."""

    def __init__(self, tasks: Iterable[str]) -> None:
        self._tasks = [text for text in dict.fromkeys(tasks) if _words(text)]
        self._lengths = np.array([len(_words(text)) for text in self._tasks])
        self._postings: dict[str, list[int]] = {}
        for index, text in enumerate(self._tasks):
            for word in _words(text):
                self._postings.setdefault(word, []).append(index)

    def __call__(self, trajectory: Trajectory) -> str | None:
        text = own_text(trajectory)
        row: TrainedTexts | None = None
        for index in self._candidates(set(_words(text))):
            row = row or TrainedTexts([text])
            if row.is_dirty(self._tasks[index]):
                return f"it holds the evaluation task {self._tasks[index][:60]!r}"
        return None

    def _candidates(self, words: set[str]) -> list[int]:
        """Tasks that share enough words with the row to be dirty at all."""
        postings = [self._postings[word] for word in words & self._postings.keys()]
        if not postings:
            return []
        shared = np.bincount(np.concatenate(postings), minlength=len(self._tasks))
        likely: NDArray[np.int64] = np.flatnonzero(shared > _FEWEST_SHARED * self._lengths)
        return [int(index) for index in likely]


def read_tasks(paths: Iterable[Path]) -> Iterator[str]:
    """Texts of evaluation tasks: JSON lines with a description, JSON lists of them, or plain lines.

    Raises OperatorError for a file that can't be read.
    """
    for path in paths:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"the evaluation tasks {path} can't be read: {error}") from error
        yield from _task_texts(path, text)


def _task_texts(path: Path, text: str) -> Iterator[str]:
    if path.suffix == ".json":
        value = json.loads(text)
        rows = value if isinstance(value, list) else [value]
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in json_lines(text) if line.strip()]
    else:
        rows = text.splitlines()
    for row in rows:
        if isinstance(row, str):
            yield row
        elif isinstance(row, dict):
            yield from (str(row[key]) for key in _TEXT_KEYS if row.get(key))


def _words(text: str) -> list[str]:
    return [word.strip(string.punctuation) for word in text.lower().split()]
