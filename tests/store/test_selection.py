"""One filter of trajectories: a flag, a recipe's key, a query's word mean the same everywhere."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.commands.logs.settings import ExportLogs, ListLogs, LogStats
from agentlm.errors import OperatorError, RequestError
from agentlm.finetune.job_settings import settings_of
from agentlm.finetune.settings import FinetuneSettings
from agentlm.jobs.job import Job, JobRequest
from agentlm.settings import parse
from agentlm.store.selection import Conditions, Selection, parse_conditions, parse_query
from support.serving import Serve

QUERY = "owner=ann&model=m&source=agent&environment=db&since=7d&until=2026-11-22&tags.run=a%26b"
FLAGS = "--owner ann --model m --source agent --environment db --since 7d --until 2026-11-22"
TAGS = ["--tags", "run=a&b"]
HI: Any = [{"role": "user", "content": "Hi"}]


def plain(selection: Conditions) -> dict[str, Any]:
    """The conditions with the age in whole minutes."""
    found = selection.conditions()
    return found | {"since": round((time.time() - found["since"]) / 60)}


def job(directory: Path, training: str) -> Job:
    asked = JobRequest(
        id="ftjob-1",
        created_at=1,
        owner=None,
        model="m",
        training=training,
        fine_tuned_model="m-1",
    )
    job = directory / "jobs" / asked.id
    job.mkdir(parents=True)
    (job / "request.json").write_text(asked.model_dump_json())
    return Job(job)


def test_every_place_understands_the_same_words(tmp_path: Path) -> None:
    words = [*FLAGS.split(), *TAGS]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "{owner: ann, model: m, source: agent, environment: db, since: 7d, until: 2026-11-22, "
        "tags: {run: a&b}}"
    )
    asked = parse_conditions(parse_query(QUERY))

    assert plain(asked) == {
        "owner": "ann",
        "model": "m",
        "source": "agent",
        "environment": "db",
        "outcomes": (),
        "min_reward": None,
        "since": 7 * 24 * 60,
        "until": datetime(2026, 11, 22).timestamp(),
        "tags": {"run": "a&b"},
    }
    for settings in (ListLogs, LogStats, ExportLogs):
        assert plain(parse(settings, words, "agentlm logs").selection()) == plain(asked)
    for flags in (words, ["--config", str(recipe)]):
        chosen = parse(FinetuneSettings, flags, "agentlm finetune")
        assert plain(chosen.requested()) == plain(asked)
    assert plain(settings_of(job(tmp_path, f"log:{QUERY}")).requested()) == plain(asked)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T10:00+00:00", 1795341600.0),
        ("1795341600", 1795341600.0),
        ("7", 7.0),
    ],
)
def test_a_moment_is_a_date_or_seconds(text: str, seconds: float) -> None:
    assert parse_conditions([("since", text)]).since == seconds
    assert Selection(since=seconds).since == seconds


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "inf", "7y", "0001-01-01", "-", "1e999"])
def test_a_moment_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(RequestError, match="since: must be a date") as refused:
        parse_conditions([("since", text)])
    assert refused.value.param == "since"
    with pytest.raises(OperatorError, match="--since: must be a date"):
        parse(ListLogs, [f"--since={text}"], "agentlm logs list")
    with pytest.raises(OperatorError, match="--since: must be a date"):
        parse(FinetuneSettings, [f"--since={text}"], "agentlm finetune")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("modle=m", "modle"),
        ("tags=x", "tags"),
        ("model=m&model=n", "model"),
        ("tags.a=1&tags.a=2", "tags.a"),
        ("outcomes=", "outcomes"),
        ("outcomes=completed,won", "outcomes"),
        ("min_reward=2", "min_reward"),
        ("source=web", "source"),
        ("or_corrected=1", "or_corrected"),
    ],
)
async def test_the_api_refuses_what_it_would_have_to_ignore(
    serve: Serve, query: str, param: str
) -> None:
    async with serve() as running, httpx.AsyncClient() as http:
        answer = await http.get(f"{running.url}/v1/trajectories?{query}")
        job = {"model": "tiny", "training_file": f"log:{query}"}
        asked = await http.post(f"{running.url}/v1/fine_tuning/jobs", json=job)

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert (asked.status_code, asked.json()["error"]["param"]) == (400, "training_file")
        assert param in asked.json()["error"]["message"]


async def test_the_api_lists_what_is_asked_for(serve: Serve) -> None:
    async with serve("One.", "Two.") as running, httpx.AsyncClient() as http:
        create = running.client.chat.completions.create
        await create(model="tiny", messages=HI, metadata={"run": "7"})
        await create(model="tiny", messages=[{"role": "user", "content": "Ho"}])

        async def count(query: str) -> int:
            answer = await http.get(f"{running.url}/v1/trajectories?{query}")
            return len(answer.json()["data"])

        assert await count("") == 2
        assert await count("since=7d&source=chat&model=tiny&outcomes=completed,limit") == 2
        assert await count("tags.run=7") == 1
        assert await count("tags.run=8") == 0
        assert await count("until=7d") == 0
        assert await count("min_reward=0") == 0
        assert await count("owner=somebody") == 0
