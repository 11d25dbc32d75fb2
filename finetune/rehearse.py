"""`agentlm data rehearse`: general rows whose answers are the base model's own.

A model that is trained on its own answers to general questions keeps its earlier abilities. The
rows are made once, through a running server, and any number of runs can mix them in (`--general`).

Answers are kept as they come, so the same command continues after a kill. The file appears only
when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from agentlm.errors import OperatorError
from agentlm.exchange.files import Malformed, read_rows
from agentlm.files import alone, write_text
from agentlm.finetune.data.negatives import NO_TOOL
from agentlm.finetune.data.prompts import openings, questions, unfit_tools
from agentlm.finetune.data_settings import RehearseData
from agentlm.finetune.filters.judge import Asker
from agentlm.openai_messages import own_seed, write_tool

_TOLD_EVERY = 50


def rehearse(settings: RehearseData) -> int:
    """Make the rows. Returns the exit code. Raises OperatorError for a flag without an effect."""
    for name in ("no_tool_share", "keep_cut"):
        if settings.text and name in settings.model_fields_set:
            raise OperatorError(f"--{name.replace('_', '-')} is for answers, and --text makes none")
    output = settings.output.expanduser().absolute()
    kept = output.with_name(f".{output.name}.answers")
    with alone(kept.with_suffix(".lock"), f"{output} is being made already"):
        answers = _Answers(kept, _plan(settings))
        rows = list(islice(_rows(settings, answers), settings.limit))
        if not rows and not answers.known:
            raise OperatorError(f"{settings.prompts} has no question")
        if not rows:
            raise OperatorError(f"{settings.model} gave no whole answer: raise --max-tokens")
        write_text(output, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
        kept.unlink(missing_ok=True)
    left_out = f"{answers.cut:,} answers were cut off or empty and left out"
    print(f"{len(rows):,} rows, {left_out}: {output}")
    return 0


def _rows(settings: RehearseData, answers: _Answers) -> Iterator[dict[str, Any]]:
    asker = Asker(settings.url, settings.model, settings.api_key)
    pending = _questions(settings)
    with ThreadPoolExecutor(settings.concurrency) as threads:
        # Batches of the number of concurrent requests, so that few are wasted at the end.
        while batch := list(islice(pending, settings.concurrency)):
            replies = threads.map(lambda question: _ask(question, settings, asker, answers), batch)
            for question, answer in zip(batch, list(replies), strict=True):
                answers.keep(question, answer)
                if answer is not None:
                    yield _row(question, answer, settings)


def _ask(question: str, settings: RehearseData, asker: Asker, answers: _Answers) -> str | None:
    if question in answers.known:
        return answers.known[question]
    seed, most = own_seed(settings.seed, question), settings.max_tokens
    if settings.text:
        return asker.text(question, most, temperature=settings.temperature, seed=seed)
    messages = [{"role": "user", "content": question}]
    drawn = settings.temperature
    return asker.answer(messages, most, temperature=drawn, seed=seed, cut=settings.keep_cut)


def _questions(settings: RehearseData) -> Iterator[str]:
    """Each question once."""
    all_questions = openings(settings.seed) if settings.text else questions(settings.seed)
    if settings.prompts is not None:
        all_questions = _of_file(settings.prompts)
    return iter(dict.fromkeys(all_questions))


def _of_file(name: str) -> Iterator[str]:
    for row in read_rows(name):
        if isinstance(row, Malformed):
            raise OperatorError(f"{row.place}: {row.reason}")
        question = next((step.text for step in row.steps if step.role == "user"), "").strip()
        if question:
            yield question


def _row(question: str, answer: str, settings: RehearseData) -> dict[str, Any]:
    """A row in OpenAI's format, or text. Whether it has tools depends on the question alone."""
    if settings.text:
        return {"source": "rehearsed", "model": settings.model, "text": answer}
    random = Random(f"{settings.seed}/{question}")
    message: dict[str, Any] = {"role": "assistant", "content": answer}
    row: dict[str, Any] = {"source": "rehearsed", "model": settings.model}
    if random.random() < settings.no_tool_share:
        message["reasoning_content"] = NO_TOOL
        row["tools"] = [write_tool(tool) for tool in unfit_tools(random)]
    return row | {"messages": [{"role": "user", "content": question}, message]}


def _plan(settings: RehearseData) -> dict[str, object]:
    """Everything that an answer depends on, including the served weights."""
    asker = Asker(settings.url, settings.model, settings.api_key)
    plan = settings.model_dump(
        mode="json",
        include={"url", "model", "temperature", "max_tokens", "seed", "text", "keep_cut"},
    )
    return plan | {"weights": asker.weights_version()}


class _Answers:
    """The answers so far, one line each in a file beside the rows."""

    def __init__(self, file: Path, plan: dict[str, object]) -> None:
        digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
        self.known = dict(_kept(file, digest))
        lines = [digest, *(json.dumps(pair) for pair in self.known.items())]
        write_text(file, "".join(f"{line}\n" for line in lines))
        self._file = file
        self.cut = 0
        self._count = 0
        if self.known:
            print(f"{len(self.known):,} answers kept from before", file=sys.stderr)

    def keep(self, question: str, answer: str | None) -> None:
        """Once this returns, killing the process does not lose the answer."""
        self._count += 1
        self.cut += answer is None
        if question not in self.known:
            self.known[question] = answer
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([question, answer]) + "\n")
        if self._count % _TOLD_EVERY == 0:
            print(f"{self._count:,} questions answered", file=sys.stderr, flush=True)


def _kept(file: Path, digest: str) -> Iterator[tuple[str, str | None]]:
    """Answers of the same plan. A line that was half written when the process died is ignored."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if lines[:1] == [digest]:
        for line in lines[1:]:
            try:
                question, answer = json.loads(line)
            except ValueError:
                continue
            yield question, answer
