"""The routes around the conversation: what is served, what it costs, what was logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.errors import OperatorError
from support.serving import Running, Serve

HI: Any = [{"role": "user", "content": "Hi"}]
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'


async def get(running: Running, path: str) -> Any:
    async with httpx.AsyncClient() as client:
        return (await client.get(running.url + path)).json()


async def post(running: Running, path: str, body: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(running.url + path, json=body)


async def test_the_served_model_says_what_it_is(serve: Serve) -> None:
    async with serve() as running:
        [model] = (await get(running, "/v1/models"))["data"]

        assert (model["id"], model["max_model_len"], model["weights_version"]) == (
            "tiny",
            8192,
            "w0",
        )
        assert (await get(running, "/v1/models/tiny"))["id"] == "tiny"


async def test_health_and_version(serve: Serve) -> None:
    async with serve() as running:
        works = {"engine": True, "compiler": True, "store": True}
        assert await get(running, "/health") == {"status": "ok", **works}
        assert "version" in await get(running, "/version")


async def test_the_log_is_listed_newest_first_in_pages(serve: Serve) -> None:
    async with serve("One.", "Two.", "Three.") as running:
        for number in range(3):
            message: Any = {"role": "user", "content": str(number)}
            await running.client.chat.completions.create(model="tiny", messages=[message])
        newest = await get(running, "/v1/trajectories?limit=2")
        oldest = await get(running, f"/v1/trajectories?after={newest['data'][-1]['id']}")

        assert (newest["has_more"], oldest["has_more"]) == (True, False)
        ids = [row["id"] for row in newest["data"] + oldest["data"]]
        assert ids == [t.id for t in reversed(running.trajectories())]


async def test_a_completions_header_and_id_lead_to_its_trajectory(serve: Serve) -> None:
    async with serve(CALL, "Thought: t\nFinal Answer: Done.") as running:
        raw = await running.client.chat.completions.with_raw_response.create(
            model="tiny",
            messages=HI,
            tools=[{"type": "bash"}],  # type: ignore[list-item]
        )
        by_header = await get(running, f"/v1/trajectories/{raw.headers['x-trajectory-id']}")
        by_id = await get(running, f"/v1/trajectories/{raw.parse().id}")

        assert by_header == by_id
        step = by_header["steps"][2]
        assert (step["role"], step["origin"], step["text"]) == ("assistant", "sampled", CALL)
        assert len(step["token_ids"]) == len(step["logprobs"])
        assert step["call"]["name"] == "bash"
        assert by_header["tools"][0]["owner"] == "server"


async def test_a_thumb_up_is_a_reward(serve: Serve) -> None:
    async with serve("Hello.") as running:
        answer = await running.client.chat.completions.create(model="tiny", messages=HI)
        path = f"/v1/trajectories/{answer.id}/feedback"
        judgements = await post(running, path, {"value": True, "comment": "nice"})

        assert judgements.json()["reward"] == 1.0
        [trajectory] = running.trajectories()
        assert trajectory.reward == 1.0
        assert trajectory.feedback[0].completion_id == answer.id


async def test_health_says_what_is_broken(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down() -> bool:
        return False

    async with serve() as running, httpx.AsyncClient() as client:
        monkeypatch.setattr(running.engine, "compiles", lambda: False)
        stuck = await client.get(f"{running.url}/health")
        monkeypatch.undo()
        monkeypatch.setattr(running.engine, "healthy", down)
        without_engine = await client.get(f"{running.url}/health")
        running.store.close()
        without_both = await client.get(f"{running.url}/health")

    assert (stuck.status_code, stuck.json()["compiler"]) == (503, False)
    assert stuck.json()["reason"] == "a schema has been compiling for too long"
    assert (without_engine.status_code, without_both.status_code) == (503, 503)
    assert without_engine.json()["store"] is True
    assert without_engine.json()["reason"] == "the engine does not run"
    assert without_both.json()["reason"] == "the engine does not run and the log can't be written"


async def test_an_answer_is_corrected_and_a_step_judged(serve: Serve) -> None:
    async with serve("Hello.") as running:
        answer = await running.client.chat.completions.create(model="tiny", messages=HI)
        path = f"/v1/trajectories/{answer.id}/feedback"
        corrected = await post(running, path, {"correction": "Good day."})
        judged = await post(running, path, {"step": 1, "value": 0.5})
        refused = await post(running, path, {"step": 0, "value": 0.5})

        assert (corrected.json()["reward"], judged.json()["reward"]) == (None, 0.5)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "step")
        judgements = running.trajectories()[0].feedback
        assert [(one.correction, one.step) for one in judgements] == [
            ("Good day.", None),
            (None, 1),
        ]


async def test_a_score_outranks_feedback(serve: Serve) -> None:
    async with serve("Hello.") as running:
        await running.client.chat.completions.create(model="tiny", messages=HI)
        path = f"/v1/trajectories/{running.trajectories()[0].id}"
        await post(running, f"{path}/score", {"reward": 0.25, "outcome": "completed"})
        await post(running, f"{path}/feedback", {"value": 1})

        assert running.trajectories()[0].reward == 0.25


async def test_a_rollouts_task_is_noted(serve: Serve) -> None:
    async with serve("Hello.") as running:
        await running.client.chat.completions.create(
            model="tiny", messages=HI, metadata={"environment": "db", "task_id": "db_7"}
        )
        [trajectory] = running.trajectories()

        assert (trajectory.source, trajectory.environment, trajectory.task_id) == (
            "rollout",
            "db",
            "db_7",
        )


@pytest.mark.parametrize("once", [{}, {"idempotency-key": "once"}])
async def test_store_false_keeps_no_text(serve: Serve, tmp_path: Path, once: Any) -> None:
    async with serve("Zebras.") as running:
        await running.client.chat.completions.create(
            model="tiny", messages=HI, store=False, extra_headers=once
        )
        headers, _ = running.store.page(None)

        assert headers[0].sampled_tokens > 0
        assert "Zebra" not in running.trajectory(headers[0].id).model_dump_json()
        assert headers[0].id.encode() in log_bytes(tmp_path)
        assert b"Zebra" not in log_bytes(tmp_path)


def log_bytes(directory: Path) -> bytes:
    """All of the log's files."""
    return b"".join(file.read_bytes() for file in directory.glob("*.db*"))


@pytest.mark.parametrize("text", ["Hello world", "<|im_end|>", "été"])
async def test_tokens_go_there_and_back(serve: Serve, text: str) -> None:
    async with serve() as running:
        there = (await post(running, "/tokenize", {"prompt": text})).json()
        back = (await post(running, "/detokenize", {"tokens": there["tokens"]})).json()

        assert there["count"] == len(there["tokens"])
        assert back["prompt"] == text


async def test_a_conversation_costs_what_its_prompt_does(serve: Serve) -> None:
    async with serve("Hello.") as running:
        counted = (await post(running, "/tokenize", {"messages": HI})).json()
        answer = await running.client.chat.completions.create(model="tiny", messages=HI)

        assert answer.usage is not None
        assert counted["count"] == answer.usage.prompt_tokens


async def test_metrics_count_choices_tokens_and_calls(serve: Serve) -> None:
    async with serve(CALL, "Thought: t\nFinal Answer: Done.") as running:
        await running.client.chat.completions.create(model="tiny:agent", messages=HI)
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{running.url}/metrics")).text

        assert 'agentlm_choices_total{outcome="completed"} 1.0' in text
        assert 'agentlm_tool_calls_total{failed="false",tool="bash"} 1.0' in text
        assert 'agentlm_requests_total{method="POST",status="200"} 1.0' in text


async def test_an_adapter_that_is_none_is_refused(serve: Serve) -> None:
    async with serve() as running:
        body = {"lora_name": "a", "lora_path": "/nowhere"}
        answer = await post(running, "/v1/load_lora_adapter", body)

        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "lora_path"
        assert len((await get(running, "/v1/models"))["data"]) == 1


async def test_a_model_that_can_not_be_had_is_the_callers_error(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object) -> None:
        raise OperatorError("the model hub can't be reached")

    async with serve() as running:
        monkeypatch.setattr("agentlm.models.registry.Registry.resolve", nowhere)
        refused = await post(running, "/v1/models", {"name": "192.0.0.0/24"})

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "name")


@pytest.mark.parametrize("after", [-1, 2**63, -(2**80)])
async def test_a_page_of_the_audit_begins_at_a_number_that_can_be(serve: Serve, after: int) -> None:
    async with serve() as running, httpx.AsyncClient(base_url=running.url) as client:
        assert (await client.get("/v1/audit", params={"after": after})).status_code == 400
