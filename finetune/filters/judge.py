"""Ask a model over any OpenAI-compatible URL, for judging and for rehearsal.

A **judge** gives each trajectory a mark; it is a filter like the others. In **rehearsal** the base
model itself answers the general questions: trained on its own answers, it forgets less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile

from openai import OpenAI, OpenAIError
from openai.types.chat.chat_completion import Choice

from agentlm.errors import OperatorError
from agentlm.exchange.files import Malformed, place_of
from agentlm.finetune.filters.dedupe import own_text
from agentlm.openai_messages import own_seed
from agentlm.trajectory import Origin, Step, Trajectory

_RUBRIC = """\
Below is what an assistant did for a user. Judge the work, not the style: is the final answer \
right, does it follow from what the tools showed, was nothing claimed that was not done?

{transcript}

Reply with one number from 0 (useless or wrong) to 10 (right and well founded), and nothing else."""
_LONGEST_CHARACTERS = 24_000


class Asker:
    """One model at one URL."""

    def __init__(self, url: str, model: str, api_key: str | None) -> None:
        base = url.rstrip("/").removesuffix("/v1") + "/v1"
        self._client = OpenAI(base_url=base, api_key=api_key or "none")
        self._model = model

    def ask(self, messages: list[dict[str, str]], max_tokens: int) -> str:
        """The likeliest answer. Raises OperatorError if there is none."""
        return self._choice(messages, max_tokens).message.content or ""

    def answer(
        self,
        messages: list[dict[str, str]],
        max_tokens: int,
        *,
        temperature: float,
        seed: int,
        cut: bool = False,
    ) -> str | None:
        """The answer; None if it is empty or, unless `cut`, cut off. Raises OperatorError if there
        is none."""
        choice = self._choice(messages, max_tokens, temperature, seed)
        text = (choice.message.content or "").strip()
        return text if text and (cut or choice.finish_reason == "stop") else None

    def text(self, opening: str, max_tokens: int, *, temperature: float, seed: int) -> str:
        """The opening and how it goes on. Raises OperatorError if there is no answer."""
        with self._failures_told():
            done = self._client.completions.create(
                model=self._model,
                prompt=opening,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
        return opening + done.choices[0].text

    def weights_version(self) -> str | None:
        """The model's version, if its server reports it. Raises OperatorError if there is no
        server."""
        with self._failures_told():
            listed = self._client.models.list()
        versions = {model.id: (model.model_extra or {}).get("weights_version") for model in listed}
        return versions.get(self._model)

    def _choice(
        self,
        messages: list[dict[str, str]],
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Choice:
        with self._failures_told():
            answer = self._client.chat.completions.create(
                model=self._model,
                messages=messages,  # type: ignore[arg-type]
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                # Requests to our own server are no user's work, so they stay out of the log.
                store=False,
            )
        return answer.choices[0]

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except OpenAIError as error:
            raise OperatorError(f"{self._model} at {self._client.base_url}: {error}") from error


class Judge:
    """Leaves out trajectories that a judge model marks below `least` (0 to 1)."""

    def __init__(self, asker: Asker, least: float) -> None:
        self._asker = asker
        self._least = least

    def __call__(self, trajectory: Trajectory) -> str | None:
        transcript = own_text(trajectory)[-_LONGEST_CHARACTERS:]
        prompt = _RUBRIC.format(transcript=transcript)
        reply = self._asker.ask([{"role": "user", "content": prompt}], max_tokens=8)
        match = re.search(r"\d+(?:\.\d+)?", reply)
        if match is None:
            return f"the judge said {reply[:60]!r}"
        mark = min(1.0, float(match.group()) / 10)
        return f"the judge gave {mark:g}" if mark < self._least else None


def rehearsed(
    rows: Iterable[Trajectory | Malformed], asker: Asker, seed: int
) -> Iterator[Trajectory | Malformed]:
    """The first question of each row, with the model's own answer in place of the row's. A question
    whose answer is cut off makes no row.

    Answers are drawn at temperature 1, so that they are spread as the model's own are. The
    likeliest ones teach it to be sure of itself, at the cost of text by others (docs/results.md).
    """
    for row in rows:
        if isinstance(row, Malformed):
            yield row
            continue
        question = list(takewhile(lambda step: step.role != "assistant", row.steps))
        messages = [{"role": _role(step), "content": step.text} for step in question]
        if not messages:
            yield Malformed(place_of(row), "it has no question that could be asked")
            continue
        own = own_seed(seed, messages[-1]["content"])
        reply = asker.answer(messages, 512, temperature=1, seed=own)
        if reply is not None:
            answer = Step(role="assistant", origin=Origin.IMPORTED, text=reply, token_ids=None)
            metadata = {key: value for key, value in row.metadata.items() if key != "loss"}
            steps = (*map(_text, question), answer)
            update = {"steps": steps, "metadata": metadata, "interactions": ()}
            yield row.model_copy(update=update)


def _role(step: Step) -> str:
    return "system" if step.role == "system" else "user"


def _text(step: Step) -> Step:
    return step.model_copy(update={"token_ids": None, "tokenizer_digest": None})
