"""The loop turns once, for real: serve → act → record → train → serve, on a tiny random Llama."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from agentlm.prompt.render import Renderer

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

QUESTION: Any = [{"role": "user", "content": "How many programs in /usr/bin start with z?"}]
BASH: Any = [{"type": "bash"}]
CALLED = {
    "sql": "sql",
    "web": "web_search",
    "knowledge_graph": "find_entity",
    "mcp": "test__add",
    "weather": "weather",
}
"""A tool of each other family; of MCP's, and of own ones."""
WEATHER = """
def weather(city: str) -> str:
    'Tell the weather of a city.'
    return f"{city}: rain"
"""


def agentlm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agentlm.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def serving(data_dir: Path, model: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`agentlm serve` on a free port, until it answers."""
    command = [sys.executable, "-m", "agentlm.cli", "serve", "--model", model, "--port", "0"]
    command += ["--data-dir", str(data_dir), "--max-turns", "3", "--max-turn-tokens", "600"]
    command += tool_flags(data_dir)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = ""
        for line in server.stdout:
            if "is served at" in line:
                url = line.split("is served at ")[1].split(" ")[0]
                break
        assert url, "the server ended before it answered"
        try:
            yield server, url
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)


def tool_flags(data_dir: Path) -> list[str]:
    """Something for each family to work on."""
    page, graph, own, mcp = (data_dir / name for name in ("page", "a.ttl", "weather.py", "mcp"))
    if not mcp.exists():
        page.mkdir()
        (page / "a.md").write_text("# A page\n\nOf words.")
        pages = ["--url", "https://example.org/", str(data_dir / "pages.db"), str(page)]
        agentlm_module("web.build_index", *pages)
        graph.write_text('<urn:a> <http://www.w3.org/2000/01/rdf-schema#label> "a" .')
        agentlm_module("graph.build", "--graph", str(data_dir / "graph"), str(graph))
        own.write_text(WEATHER)
        servers = Path(__file__).with_name("support") / "mcp_servers.py"
        server = {"command": sys.executable, "args": [str(servers), "official"]}
        mcp.write_text(json.dumps({"mcpServers": {"test": server}}))
    flags = ["--web-search", str(data_dir / "pages.db"), "--tool-files", str(own)]
    return [*flags, "--mcp-config", str(mcp)]


def agentlm_module(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"agentlm.tools.{name}", *arguments], check=True)


def connected(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120)


def test_the_loop_turns_from_a_run_to_a_served_successor(
    tmp_path: Path, chatml_llama: Path
) -> None:
    data = ["--data-dir", str(tmp_path)]
    agentlm("models", "add", "tiny", "--path", str(chatml_llama), *data)
    with serving(tmp_path, "tiny") as (server, url), connected(url) as client:
        trajectory_id, answer = acts_with_a_tool(client)
        trajectory = httpx.get(f"{url}/v1/trajectories/{trajectory_id}").json()
        assert_recorded(trajectory, chatml_llama)

        for family, tool in CALLED.items():
            calls(client, url, family, tool)

        follow_up: Any = [*QUESTION, {"role": "assistant", "content": answer}]
        follow_up.append({"role": "user", "content": "Thanks."})
        second = client.chat.completions.create(
            model="tiny", messages=follow_up, tools=BASH, max_tokens=120
        )
        continued = httpx.get(f"{url}/v1/trajectories/{second.id}").json()
        assert continued["id"] == trajectory_id
        assert len(continued["interactions"]) == 2

        made = trains_by_the_api(client)
        # A model that was not measured is promoted only with a reason.
        agentlm("models", "promote", made, "--force", "a test", "--publish", url, *data)
        assert says(client, "production") == made

        # Killed right after an answer: it is in the log of the next server.
        os.kill(server.pid, signal.SIGKILL)
        server.wait()

    with serving(tmp_path, "production") as (_, url), connected(url) as client:
        assert [model.id for model in client.models.list()] == ["tiny", made, "production"]
        assert says(client, "production") == made
        assert httpx.get(f"{url}/v1/trajectories/{trajectory_id}").json() == continued
        path = f"{url}/v1/trajectories/{trajectory_id}/feedback"
        assert httpx.post(path, json={"value": 1.0}).json()["reward"] == 1.0

        trained = ["--from-logs", "--base", "tiny", "--name", "tiny-next", "--max-steps", "4"]
        agentlm("finetune", *trained, "--publish", url, *data)
        assert {model.id for model in client.models.list()} >= {"tiny", "tiny-next"}
        assert says(client, "tiny-next") == "tiny-next"


def trains_by_the_api(client: OpenAI) -> str:
    """Upload rows, have them trained on, and ask the result; returns its name."""
    row = {"messages": [*QUESTION, {"role": "assistant", "content": "12 programs."}]}
    data = json.dumps(row).encode()
    file = client.files.create(file=("rows.jsonl", data), purpose="fine-tune")
    jobs = client.fine_tuning.jobs
    job = jobs.create(
        model="tiny",
        training_file=file.id,
        suffix="mine",
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = jobs.retrieve(job.id)

    assert job.fine_tuned_model is not None, job.error
    assert job.fine_tuned_model.startswith("ft:tiny::mine:")
    assert job.trained_tokens
    events = list(jobs.list_events(job.id, limit=2))
    assert events[0].message == "The job has successfully completed"
    assert [event.data["train_loss"] for event in events if event.type == "metrics"]  # type: ignore[index]
    [checkpoint] = jobs.checkpoints.list(job.id)
    assert checkpoint.fine_tuned_model_checkpoint == job.fine_tuned_model
    results = client.files.content(job.result_files[0]).text.splitlines()
    assert results[0] == "step,train_loss,learning_rate,tokens"
    assert len(results) == 1 + checkpoint.step_number
    assert says(client, job.fine_tuned_model) == job.fine_tuned_model
    return job.fine_tuned_model


def says(client: OpenAI, model: str) -> str:
    """Which model answers by a name."""
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=8)
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8
    return answer.model


def acts_with_a_tool(client: OpenAI) -> tuple[str, str]:
    """Stream an agent run; returns its trajectory's id and its final answer."""
    raw = client.chat.completions.with_raw_response.create(
        model="tiny", messages=QUESTION, tools=BASH, stream=True, tool_choice="required", seed=1
    )
    steps: list[Any] = []
    content = ""
    finish = None
    for chunk in raw.parse():
        delta: Any = chunk.choices[0].delta
        steps += getattr(delta, "agent_steps", None) or []
        content += delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    assert steps, "no tool ran"
    assert finish in ("stop", "length")
    return raw.headers["x-trajectory-id"], content


def calls(client: OpenAI, url: str, family: str, tool: str) -> None:
    """Have one tool called; thought and strings end soon, because what ends them is made likely."""
    ends = httpx.post(f"{url}/tokenize", json={"prompt": '"\n'}).json()["tokens"]
    tools: Any = [{"type": family}]
    answer = client.chat.completions.create(
        model="tiny",
        messages=QUESTION,
        tools=tools,
        tool_choice={"type": "function", "function": {"name": tool}},
        logit_bias={str(token): 20 for token in ends},
        max_tokens=90,
    )
    message: Any = answer.choices[0].message
    first, *_ = message.agent_steps
    assert first["call"] == tool
    assert first["observation"]


def assert_recorded(trajectory: dict[str, Any], directory: Path) -> None:
    """Every step has its ids, and they decode to what was said."""
    template = (directory / "chat_template.jinja").read_text()
    renderer = Renderer.load(directory, template)
    origins = [step["origin"] for step in trajectory["steps"]]
    assert origins.count("sampled") >= 2
    for step in trajectory["steps"]:
        assert step["token_ids"]
        assert step["text"].strip() in renderer.decode(step["token_ids"])
        if step["origin"] == "sampled":
            assert len(step["logprobs"]) == len(step["token_ids"])
    called = [step for step in trajectory["steps"] if step["call"]]
    assert called
    assert any(step["role"] == "tool" for step in trajectory["steps"])
