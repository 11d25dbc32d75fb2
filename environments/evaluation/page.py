"""report.html: an evaluation as a person reads it, down to what was said in each failed run.

One file without scripts, and it asks nothing of any network. What models, tools and tasks said is
text: the template escapes whatever is put into it, and the page's own policy forbids the rest.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from agentlm.environments.error_classes import ErrorClass
from agentlm.environments.evaluation.report import Report
from agentlm.environments.evaluation.statistics import Interval
from agentlm.environments.evaluation.transcripts import Transcript
from agentlm.environments.playing.progress import Result
from agentlm.environments.task import OBSERVED, Task
from agentlm.jobs.evaluations import INSTRUCTION_CHARS, EvaluatedRun
from agentlm.printable import printable
from agentlm.trajectory import Outcome

_ORDER: tuple[ErrorClass, ...] = (
    "refusal",
    "invented_name",
    "invalid_action",
    "repetition",
    "call_error",
)
"""A run that shows several classes stands under the first of these, the nearest to a cause."""

_MEANINGS = {
    "refusal": "It answers that it can't or won't.",
    "invented_name": "A call names something that stands nowhere in what the model was told.",
    "invalid_action": "A turn is no call and no answer, or a call that does not fit the tools.",
    "repetition": "The same call three times running, or one phrase over and over.",
    "call_error": "A call that could be run failed.",
    "limit": "No class; it ran out of turns, tokens or context.",
    "wrong answer": "No class; it answered, and wrongly.",
    "not judged": "The infrastructure failed. Says nothing about the model, counts in no rate.",
}


@dataclass(frozen=True)
class Run:
    """One try: who, how it ended, what was said."""

    model: str
    decoding: str
    result: Result
    transcript: Transcript | None

    @property
    def group(self) -> str:
        """The heading that it stands under if it failed."""
        if self.result.outcome is Outcome.ERROR:
            return "not judged"
        first = next((name for name in _ORDER if name in self.result.error_classes), None)
        return first or ("limit" if self.result.outcome is Outcome.LIMIT else "wrong answer")

    @property
    def anchor(self) -> str:
        """Where it is on the page."""
        parts = [self.result.task_id, str(self.result.attempt), self.decoding, self.model]
        return re.sub(r"\s+", "-", "-".join(parts))

    def kept(self, task: Task) -> EvaluatedRun:
        """As it stands in the evaluation's files."""
        result = self.result
        return EvaluatedRun(
            id=self.anchor,
            environment=result.environment,
            model=self.model,
            decoding=self.decoding,
            task_id=result.task_id,
            attempt=result.attempt,
            family=result.family,
            instruction=task.instruction[:INSTRUCTION_CHARS],
            group=None if result.success else self.group,
            outcome=result.outcome.value,
            reward=result.reward,
            error_classes=result.error_classes,
            turns=result.turns,
            completion_tokens=result.completion_tokens,
            seconds=result.seconds,
            trajectory_id=result.trajectory_id,
            error=result.error,
        )

    @property
    def title(self) -> str:
        """Its model and way of decoding."""
        return f"{self.model}, {self.decoding}"


def render_page(
    report: Report, picture: Path, runs: Sequence[Run], tasks: Mapping[str, Task]
) -> str:
    failed = [run for run in runs if not run.result.success]
    groups: dict[str, list[Run]] = {name: [] for name in _MEANINGS}
    same: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in failed:
        groups[run.group].append(run)
    for run in runs:
        same[run.result.task_id, run.result.attempt].append(run)
    return _template().render(
        look=files("agentlm").joinpath("look.css").read_text(encoding="utf-8"),
        report=report,
        picture=base64.b64encode(picture.read_bytes()).decode(),
        floors={row.environment: row.floors for row in report.rows},
        failed=failed,
        groups={name: found for name, found in groups.items() if found},
        meanings=_MEANINGS,
        same=same,
        tasks=tasks,
        settings=json.dumps(report.settings, indent=1, ensure_ascii=False),
        played=_days([run.result.finished for run in runs]),
        shows_answer=lambda task: _shows_answer(report, task),
        observed=OBSERVED,
    )


def _shows_answer(report: Report, task: Task) -> bool:
    """The test set's right answers are for scoring: whoever reads them begins to tune by them."""
    return not task.split.startswith("test") or bool(report.settings.get("answers"))


def _days(times: Sequence[float]) -> str:
    known = [datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M") for time in times if time]
    return " to ".join(dict.fromkeys([min(known), max(known)])) if known else "nothing"


@cache
def _template() -> Template:
    source = files("agentlm.environments.evaluation").joinpath("page.html.jinja")
    environment = Environment(
        autoescape=True,
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda rate: f"{rate:.1%}"
    environment.filters["interval"] = _interval
    environment.filters["signed"] = lambda rate: f"{rate:+.1%}"
    environment.filters["pretty"] = _pretty
    return environment.from_string(source.read_text(encoding="utf-8"))


def _escaped(value: object) -> object:
    """Escaping leaves what reorders or hides text; that is spelt out."""
    return printable(value) if isinstance(value, str) else value


def _interval(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} … {100 * interval[1]:.1f}"


def _pretty(arguments: str) -> str:
    """A call's arguments as a person reads them: one text as it is, several with their names."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    if not isinstance(value, dict):
        return arguments
    texts = {
        name: item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
        for name, item in value.items()
    }
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}: {text}" for name, text in texts.items())
