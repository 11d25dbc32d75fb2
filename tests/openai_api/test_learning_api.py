"""What a person sees of learning over the API: runs, recipes, evaluations, versions, keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.finetune.job_recipe import recipe_model
from agentlm.finetune.settings import FinetuneSettings
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.store import ApiKey
from support.finetune_logs import registered
from support.learning import JOB, begun, evaluated, report, succeed
from support.serving import Running, Serve


def client(running: Running, secret: str = "root") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.AsyncClient(base_url=running.url, headers=headers, timeout=30)


async def test_evaluations_are_listed_with_what_can_not_be_read(
    serve: Serve, tmp_path: Path
) -> None:
    evaluated(tmp_path, "gate-next", report())
    evaluated(tmp_path, "cut off", '{"rows": [')
    async with serve(api_key="root") as running, client(running) as http:
        listed = (await http.get("/v1/evaluations")).json()["data"]
        of_next = (await http.get("/v1/evaluations?model=next")).json()["data"]
        one = (await http.get("/v1/evaluations/gate-next")).json()
        named = (await http.get("/v1/evaluations/cut%20off")).json()

    assert {each["id"] for each in listed} == {"gate-next", "cut off"}
    assert of_next == [one]
    [row] = one["report"]["rows"]
    assert (row["success"], row["interval"], row["families"]) == (
        0.5,
        [0.25, 0.75],
        {"counting": [2, 4]},
    )
    assert "secret" not in json.dumps(one)  # the right answer is not for those who tune
    assert (named["report"], "is not a report" in named["error"]) == (None, True)


async def test_runs_of_an_evaluation_are_filtered_and_paged(serve: Serve, tmp_path: Path) -> None:
    evaluated(tmp_path, "e", report())
    async with serve(api_key="root") as running, client(running) as http:

        async def tasks(query: str) -> list[str]:
            page = (await http.get(f"/v1/evaluations/e/runs?{query}")).json()
            return [run["task_id"] for run in page["data"]]

        assert await tasks("") == ["a", "b", "c", "d"]
        assert await tasks("failed=true") == ["b", "c"]
        assert await tasks("failed=false") == ["a", "d"]
        assert await tasks("group=refusal") == ["b"]
        assert await tasks("task_id=c&model=next") == ["c"]
        assert await tasks("model=other") == []
        assert await tasks("limit=2&after=b-next") == ["c", "d"]


@pytest.mark.parametrize("name", ["..", "../jobs", "%2e%2e%2fjobs", "nothing", "e%00"])
async def test_no_name_leads_out_of_the_evaluations(
    serve: Serve, tmp_path: Path, name: str
) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/report.json").write_text(json.dumps(report()))
    evaluated(tmp_path, "e", report())
    async with serve(api_key="root") as running, client(running) as http:
        answers = [await http.get(f"/v1/evaluations/{name}{end}") for end in ("", "/runs")]

    assert {answer.status_code for answer in answers} == {404}


async def test_a_run_is_seen_from_before_its_first_step(serve: Serve, tmp_path: Path) -> None:
    run = begun(tmp_path)
    async with serve(api_key="root") as running, client(running) as http:
        nothing = (await http.get(f"/v1/fine_tuning/jobs/{JOB}/run")).json()
        line = {"loss": 1.0, "lr": 2e-4, "grad_norm": float("nan"), "tokens": 100, "seconds": 2.0}
        lines = [{"step": step, "trained_tokens": 40, **line} for step in range(4)]
        lines[1]["held_out_loss"] = 0.5
        lines[3]["held_out_loss"] = 0.75
        text = "".join(json.dumps(one) + "\n" for one in lines)
        (run / "metrics.jsonl").write_text(text + '{"step": 4, "lo')
        drop = {"trajectory": "t1", "reason": "no answer", "count": 3}
        left_out = {"rows": 9, "kept": 6, "dropped": {"no_answer": 3}}
        left_out["examples"] = {"no_answer": [drop]}
        (run / "selection.json").write_text(json.dumps({"agent": left_out}))
        (run / "report.json").write_text(json.dumps({"steps": 10, "sources": {}}))
        (run / "samples.json").write_text(json.dumps({"agent": [[["Say", False], ["Hi", True]]]}))
        seen = (await http.get(f"/v1/fine_tuning/jobs/{JOB}/run")).json()

    assert (nothing["steps"], nothing["steps_done"], nothing["curve"]["step"]) == (None, 0, [])
    assert seen["curve"]["step"] == [1, 2, 3, 4]
    assert seen["curve"]["held_out_loss"] == [None, 0.5, None, 0.75]
    assert seen["curve"]["gradient_norm"] == [None] * 4
    assert (seen["tokens_per_second"], seen["seconds_left"], seen["best_step"]) == (50, 12, 2)
    assert seen["trained_tokens"] == 160
    assert seen["selection"]["agent"]["examples"]["no_answer"] == [drop]
    assert seen["samples"]["agent"] == [[["Say", False], ["Hi", True]]]


async def test_a_long_curve_has_as_many_points_as_a_screen(serve: Serve, tmp_path: Path) -> None:
    run = begun(tmp_path)
    lines = [{"step": n, "loss": 1.0, "tokens": 1, "seconds": 1} for n in range(5000)]
    lines[1233]["held_out_loss"] = 2
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with serve(api_key="root") as running, client(running) as http:
        curve = (await http.get(f"/v1/fine_tuning/jobs/{JOB}/run")).json()["curve"]

    assert len(curve["step"]) == 1001
    assert {1234, 5000} <= set(curve["step"])


async def test_a_recipe_is_explained_and_held_to(serve: Serve, tmp_path: Path) -> None:
    async with serve(api_key="root") as running, client(running) as http:
        schema = (await http.get("/v1/fine_tuning/recipe")).json()

        async def refusal(recipe: dict[str, Any], **more: Any) -> tuple[str, str]:
            body = {"model": "tiny", "training_file": "log:", "recipe": recipe, **more}
            answer = await http.post("/v1/fine_tuning/jobs", json=body)
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            return error["param"], error["message"]

        rank = await refusal({"lora_rank": 0})
        unknown = await refusal({"lora_rnk": 8})
        twice = await refusal({"epochs": 2}, hyperparameters={"n_epochs": 2})
        nothing_held_out = await refusal({"patience": 2})

    assert set(schema["properties"]) == set(recipe_model().model_fields)
    assert all(field["description"] and field["group"] for field in schema["properties"].values())
    assert rank == (
        "recipe.lora_rank",
        "recipe.lora_rank: Input should be greater than or equal to 1, got 0",
    )
    assert unknown[0] == "recipe.lora_rnk"
    assert "known: " in unknown[1]
    assert twice == ("recipe.epochs", "recipe.epochs is also set by n_epochs")
    assert "--eval-share" in nothing_held_out[1]
    assert not (tmp_path / "jobs").exists()


def test_no_field_of_a_recipe_names_a_file_or_a_server_of_the_operators() -> None:
    offered = set(recipe_model().model_fields)
    operators = {"data", "eval_data", "general", "leak_check", "judge_url", "publish", "api_key"}
    operators |= {"judge_api_key", "data_dir", "store_url", "gate_base_url", "owner", "from_logs"}

    assert operators <= set(FinetuneSettings.model_fields)
    assert not offered & operators
    kinds = {name: str(FinetuneSettings.model_fields[name].annotation) for name in offered}
    assert not [name for name, kind in kinds.items() if "Path" in kind]


@pytest.fixture
def versions(tmp_path: Path, chatml_llama: Path) -> Registry:
    """A base and its successor, which the gate did not pass."""
    registered(tmp_path, chatml_llama)
    registry = Registry(tmp_path)
    succeed(registry, tmp_path)
    return registry


async def test_a_version_is_shown_with_its_parent_and_what_came_of_it(
    serve: Serve, versions: Registry, tmp_path: Path
) -> None:
    async with serve("Hello.", "Hi.", api_key="root") as running, client(running) as http:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
        first = await http.post("/v1/chat/completions", json=body)
        await http.post("/v1/chat/completions", json=body)
        where = f"/v1/trajectories/{first.headers['x-trajectory-id']}/feedback"
        await http.post(where, json={"value": 0.5})
        listed = await http.get("/v1/registry")
        secret = await running.store.keys.create(ApiKey(name="ann"))
        async with client(running, secret) as ann:
            hers = (await ann.get("/v1/registry")).json()["data"]

    by_id = {version["id"]: version for version in listed.json()["data"]}
    assert str(tmp_path) not in listed.text  # where files are is the operator's alone
    assert (by_id["next"]["parent"], by_id["next"]["training"]["rows"]) == ("tiny", 8)
    assert by_id["next"]["verdict"]["reasons"] == ["db: -10.0%"]
    record = by_id["tiny"]["record"]
    assert (record["trajectories"], record["rewarded"], record["mean_reward"]) == (2, 1, 0.5)
    assert record["turns"] == 2
    assert record["turn_seconds_median"] <= record["turn_seconds_p90"]
    assert by_id["tiny"]["served"]
    assert {version["record"]["trajectories"] for version in hers} == {0}


async def test_traffic_is_moved_with_a_reason_and_moved_back(
    serve: Serve, versions: Registry
) -> None:
    async with serve(api_key="root") as running, client(running) as http:

        async def post(path: str, body: dict[str, Any] | None = None) -> httpx.Response:
            return await http.post(f"/v1/aliases/{path}", json=body or {})

        begun = await post("production/promote", {"model": "tiny"})
        refused = await post("production/promote", {"model": "next"})
        unknown = await post("production/promote", {"model": "nix"})
        forced = await post("production/promote", {"model": "next", "force": "a <b>trial</b>"})
        listed = (await http.get("/v1/aliases")).json()["data"]
        back = await post("production/rollback")
        again = await post("production/rollback")
        models = (await http.get("/v1/models")).json()["data"]

    assert (begun.status_code, begun.json()["card"]) == (200, "tiny")
    assert (refused.status_code, unknown.status_code, again.status_code) == (409, 404, 409)
    assert "db: -10.0%" in refused.json()["error"]["message"]
    assert listed == [forced.json()]
    assert [each["card"] for each in forced.json()["history"]] == ["tiny", "next"]
    assert forced.json()["history"][1]["forced"] == "a <b>trial</b>"
    assert back.json()["card"] == "tiny"
    assert "production" in [model["id"] for model in models]


async def test_an_alias_that_can_not_be_served_stays_where_it_was(
    serve: Serve, versions: Registry, chatml_llama: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(chatml_llama, gone)
    versions.add(ModelCard(name="lost", source="local", location=str(gone)))
    (gone / "config.json").unlink()
    async with serve(api_key="root") as running, client(running) as http:
        await http.post("/v1/aliases/production/promote", json={"model": "tiny"})
        body = {"model": "lost", "force": "a try"}
        answer = await http.post("/v1/aliases/production/promote", json=body)

    assert answer.status_code == 400
    assert versions.aliases.card("production") == "tiny"
    assert len(versions.aliases.history("production")) == 1


@pytest.mark.parametrize("alias", ["..%2Fcards", "a b", "-x", "%00"])
async def test_what_can_not_be_an_alias_is_refused(
    serve: Serve, versions: Registry, alias: str
) -> None:
    async with serve(api_key="root") as running, client(running) as http:
        body = {"model": "tiny"}
        answer = await http.post(f"/v1/aliases/{alias}/promote", json=body)

    assert answer.status_code in (400, 404)
    assert versions.aliases.list() == {}


async def test_keys_are_shown_with_their_use_and_without_their_secrets(serve: Serve) -> None:
    async with serve("Hello.", api_key="root") as running, client(running) as http:
        secret = await running.store.keys.create(ApiKey(name="ann", requests_per_minute=9))
        await running.store.keys.create(ApiKey(name="bob"))
        await running.store.keys.revoke("bob")
        async with client(running, secret) as ann:
            body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
            await ann.post("/v1/chat/completions", json=body)
            forbidden = await ann.get("/v1/keys")
        listed = await http.get("/v1/keys")

    assert forbidden.status_code == 403
    assert secret not in listed.text
    by_id = {each["id"]: each for each in listed.json()["data"]}
    assert by_id["ann"]["key"]["requests_per_minute"] == 9
    assert by_id["ann"]["use"]["trajectories"] == 1
    assert by_id["ann"]["use"]["sampled_tokens"] > 0
    assert by_id["bob"]["key"]["revoked"] is not None
    assert by_id["bob"]["use"] is None
