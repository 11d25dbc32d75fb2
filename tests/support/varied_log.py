"""A small log in which everything occurs, and what a version of this program makes of such a log.

`play` writes it through real servers: the eight modes, forks, judgements, corrections, stored
completions, an upstream's conversations, imported rows. `rows`, `exports` and `continuations` say
what is learned from it, what is given to others, and where its conversations go on. A version whose
log has to be read later is asked all four, and the answers are kept (`tests/conversations`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agentlm.commands.logs.main import main as logs
from agentlm.exchange import to_agentinstruct, to_openai
from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.settings import FinetuneSettings
from agentlm.prompt.render import Renderer
from agentlm.store import EVERYTHING, Store
from agentlm.trajectory import Trajectory
from support.finetune_logs import registered
from support.serving import Running, running
from support.tiny import tiny_llama
from support.upstreams import near

BASH: Any = {"type": "bash"}
LOOKUP: Any = {"type": "function", "function": {"name": "lookup", "description": "Look it up."}}
FINAL = "Thought: I saw it.\nFinal Answer: {}"


def calls(tool: str, **arguments: str) -> str:
    return f"Thought: I try {tool}.\nAction: {tool}\nAction Input: {json.dumps(arguments)}"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


# -- Writing it ------------------------------------------------------------------------------------


async def play(directory: Path) -> list[dict[str, Any]]:
    """Write the log of a data directory; returns requests that go on with its conversations."""
    asked: list[dict[str, Any]] = []
    async with running(directory, _REPLIES, "chatml", {"max_turns": 3}) as server:
        for part in (_chats, _agents, _two_requests, _outside_agent, _choices, _judged):
            asked += await part(server)
    async with running(directory, ("word " * 1000,), "chatml", {"delay_s": 0.005}) as server:
        await _cancelled(server)
    async with running(directory, ("Said by another template.",), "llama2", {}) as server:
        _, more = await ask(server, [user("Who wrote this?")])
        asked.append(more)
    asked += await _upstream(directory)
    await asyncio.to_thread(_imported, directory)
    return asked


_REPLIES = (
    *("Paris.", "About two million.", "It is Lyon.", "Kept for later.", "Not kept."),
    *(calls("bash", command="ls"), calls("bash", command="fail"), " Two files."),
    *(calls("bash", command="pwd"), FINAL.format("You are at home.")),
    *(calls("bash", command="id"), calls("lookup", key="a"), FINAL.format("It is 42.")),
    *(calls("lookup", key="open"),),
    *(calls("lookup", key="x"), calls("lookup", key="y"), FINAL.format("Both are known.")),
    *("Heads.", "Tails."),
    *("A wrong sum: 5.", calls("bash", command="date"), FINAL.format("It is Monday.")),
    *("Thought: I am lost.\nAction: nothing", FINAL.format("Never mind.")),
)


async def ask(
    server: Running, messages: Sequence[dict[str, Any]], **fields: Any
) -> tuple[Any, dict[str, Any]]:
    """Have a conversation answered; returns the answer, and a request that goes on from it."""
    body = {"model": "tiny", "messages": messages, **fields}
    answer = await server.client.chat.completions.create(**body)
    message = answer.choices[0].message.model_dump(exclude_none=True)
    plain = {name: message[name] for name in ("role", "content", "tool_calls") if name in message}
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "42"}
        for call in plain.get("tool_calls", ())
    ]
    more = [*messages, plain, *(results or [user("And then?")])]
    kept = {name: fields[name] for name in ("tools",) if name in fields}
    return answer, {"model": body["model"], "messages": more, **kept}


async def _chats(server: Running) -> list[dict[str, Any]]:
    question = [{"role": "system", "content": "Be short."}, user("What is the capital of France?")]
    _, first = await ask(server, question)
    going_on = [*first["messages"][:-1], user("How many live there?")]
    _, second = await ask(server, going_on)
    other = [*first["messages"][:-1], user("And the second city?")]
    _, fork = await ask(server, other)
    tags = {"topic": "kept"}
    _, stored = await ask(server, [user("Keep this.")], store=True, metadata=tags)
    _, secret = await ask(server, [user("Forget this.")], store=False)
    return [first, second, fork, stored, secret]


async def _agents(server: Running) -> list[dict[str, Any]]:
    task = [user("How many files are there?")]
    stream = await server.client.chat.completions.create(
        model="tiny", messages=task, tools=[BASH], stream=True, metadata={"task_id": "count-1"}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    await _score(server, chunks[0].id, reward=1, error_classes=["call_error"])
    streamed = [*task, {"role": "assistant", "content": text}, user("And then?")]
    answer, agent = await ask(server, [user("Where am I?")], model="tiny:agent")
    await _judge(server, answer.id, value=True)
    return [{"model": "tiny", "messages": streamed, "tools": [BASH]}, agent]


async def _two_requests(server: Running) -> list[dict[str, Any]]:
    tools = [BASH, LOOKUP]
    _, resumed = await ask(server, [user("Who am I, and what is a?")], tools=tools)
    answer, ended = await ask(server, resumed["messages"], tools=tools)
    await _judge(server, answer.id, value=1, comment="well done")
    _, waiting = await ask(server, [user("Look up what is open.")], tools=tools)
    return [ended, waiting]


async def _outside_agent(server: Running) -> list[dict[str, Any]]:
    _, more = await ask(server, [user("Look both up: x and y.")], tools=[LOOKUP])
    for _ in range(2):
        answer, more = await ask(server, more["messages"], tools=[LOOKUP])
    await _judge(server, answer.id, value=0.75)
    return [more]


async def _choices(server: Running) -> list[dict[str, Any]]:
    answer, heads = await ask(server, [user("Toss a coin.")], n=2)
    second = {"role": "assistant", "content": answer.choices[1].message.content}
    return [heads, {**heads, "messages": [heads["messages"][0], second, user("Again?")]}]


async def _judged(server: Running) -> list[dict[str, Any]]:
    answer, wrong = await ask(server, [user("What is two and two?")])
    await _judge(server, answer.id, value=False, correction="Two and two are 4.")
    answer, day = await ask(server, [user("Which day is it?")], tools=[BASH])
    better = FINAL.format("It is Monday, by the clock of this machine.")
    await _judge(server, answer.id, step=_last_step(server, answer.id), correction=better)
    answer, lost = await ask(server, [user("Do something that can't be done.")], tools=[BASH])
    await _score(server, answer.id, reward=0, error_classes=["invalid_action"])
    return [wrong, day, lost]


async def _cancelled(server: Running) -> None:
    before = len(server.trajectories())
    stream = await server.client.chat.completions.create(
        model="tiny", messages=[user("Never end.")], stream=True
    )
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    for _ in range(500):
        found = server.trajectories()
        if len(found) > before and found[-1].interactions:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the cancelled answer was not recorded")


async def _upstream(directory: Path) -> list[dict[str, Any]]:
    replies = ("From afar.", "Still from afar.", calls("bash", command="ls"), FINAL.format("One."))
    elsewhere = _beside(directory)
    async with (
        running(elsewhere, replies, "chatml", {}) as upstream,
        near(directory, f"{upstream.url}/v1") as server,
    ):
        _, first = await ask(server, [user("Where are you?")], model="teacher")
        _, second = await ask(server, first["messages"], model="teacher")
        tools = [BASH]
        answer, acted = await ask(server, [user("Count.")], model="teacher", tools=tools)
        await _judge(server, answer.id, value=1)
    return [second, acted]


def _beside(directory: Path) -> Path:
    """Where the upstream keeps its own log."""
    elsewhere = directory.with_name(f"{directory.name}-upstream")
    elsewhere.mkdir(exist_ok=True)
    return elsewhere


async def _judge(server: Running, completion: str, **feedback: Any) -> None:
    await server.client.post(
        f"/trajectories/{completion}/feedback", cast_to=object, body={"name": "reward", **feedback}
    )


def _last_step(server: Running, completion: str) -> int:
    return server.store.by_completion(completion, None)[0].end_step - 1


async def _score(server: Running, completion: str, **score: Any) -> None:
    [one] = server.store.by_completion(completion, None)
    await server.client.post(f"/trajectories/{one.trajectory_id}/score", cast_to=object, body=score)


def _imported(directory: Path) -> None:
    rows: dict[str, Any] = {
        "agentinstruct": {
            "id": "os_7",
            "conversations": [
                {"from": "human", "loss": None, "value": "Say what you do."},
                {"from": "gpt", "loss": False, "value": "Ok."},
                {"from": "human", "loss": None, "value": "How many users are there?"},
                {"from": "gpt", "loss": True, "value": "Think: I know.\n\nAct: answer(3)"},
            ],
        },
        "openai": {
            "messages": [
                user("Weather in Berlin?"),
                {"role": "assistant", "content": "Rain, as ever.", "weight": 1},
            ]
        },
        "sharegpt": {
            "conversations": [
                {"from": "human", "value": "Tell me of the sea."},
                {"from": "gpt", "value": "It is wide."},
            ]
        },
    }
    for name, row in rows.items():
        file = directory / f"{name}.jsonl"
        file.write_text(json.dumps(row) + "\n")
        flags = ["--data-dir", str(directory), "--format", name, "--reward", "1"]
        assert logs(["import", str(file), *flags]) == 0


# -- Asking what is made of it ---------------------------------------------------------------------


def rows(log: Path, directory: Path) -> dict[str, Any]:
    """The token rows that the tiny model would be trained on, and why others are left out."""
    registered(directory, tiny_llama(directory / "model"))
    return {
        name: _rows(log, directory, **settings)
        for name, settings in {
            "strict": {},
            "lenient": {"min_reward": 0.5, "max_per_task": None, "scrub": "personal"},
        }.items()
    }


def _rows(log: Path, directory: Path, **settings: Any) -> dict[str, Any]:
    prepared = prepare(
        FinetuneSettings(
            data_dir=directory,
            store_url=f"sqlite:///{log}",
            from_logs=True,
            base="tiny",
            general=("log",),
            skip_filters=("near_duplicate",),
            **settings,
        )
    )
    left_out = prepared.run.read("selection.json")
    found: dict[str, Any] = {name: drops["dropped"] for name, drops in left_out.items()}
    found = {"left_out": found}
    with closing(Store.open(f"sqlite:///{log}")) as store:
        for source in prepared.sources():
            named = zip(source.rows.names(), range(len(source.rows)), strict=True)
            found[source.name] = [
                _row(store.get(name, None), *source.rows.row(index), prepared.renderer())
                for name, index in named
            ]
    return found


def _row(logged: Trajectory | None, ids: Any, loss: Any, renderer: Renderer) -> dict[str, Any]:
    """What is learned, and digests of the recorded ids: text is rendered as this version does."""
    assert logged is not None
    learned = renderer.decode_verbatim([int(token) for token in ids[loss == 1]])
    row: dict[str, Any] = {"trajectory": logged.id, "learned": learned}
    if all(step.token_ids for step in logged.steps):
        recorded = list(logged.token_ids())[: len(ids)] == ids.tolist()
        row |= {"recorded": recorded, "ids": _digest(ids), "loss": _digest(loss)}
    return row


def _digest(numbers: Any) -> str:
    return hashlib.sha256(json.dumps(numbers.tolist()).encode()).hexdigest()[:16]


def exports(log: Path) -> dict[str, list[dict[str, Any]]]:
    """Every trajectory with content as AgentInstruct's row and as OpenAI's."""
    with closing(Store.open(f"sqlite:///{log}")) as store:
        found = list(store.select(EVERYTHING))
    return {
        "agentinstruct": list(map(to_agentinstruct, found)),
        "openai": list(map(to_openai, found)),
    }


async def continuations(
    directory: Path, requests: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Where each request goes on, and with which recorded ids, or text."""
    own = [request for request in requests if request["model"] != "teacher"]
    others = [request for request in requests if request["model"] == "teacher"]
    replies = [FINAL.format("The end.")] * len(requests)
    async with running(directory, replies, "chatml", {}) as server:
        found = [await _continued(server, request) for request in own]
    elsewhere = _beside(directory)
    async with (
        running(elsewhere, replies, "chatml", {}) as upstream,
        near(directory, f"{upstream.url}/v1") as server,
    ):
        found += [await _continued(server, request) for request in others]
    return found


async def _continued(server: Running, request: dict[str, Any]) -> dict[str, Any]:
    before = {one.id: len(one.steps) for one in server.trajectories()}
    answer = await server.client.chat.completions.create(**request)
    [interaction] = server.store.by_completion(answer.id, None)
    found = server.trajectory(interaction.trajectory_id)
    known = found.id in before
    return {
        "asked": request["messages"][0]["content"],
        "extends": found.id if known else None,
        "forks": found.parent_id,
        "at": (at := before[found.id] if known else found.parent_step),
        "with": _shown(found, at or 0),
    }


def _shown(trajectory: Trajectory, end: int) -> str:
    sequence = [list(step.token_ids or ()) or step.text for step in trajectory.steps[:end]]
    return hashlib.sha256(json.dumps(sequence).encode()).hexdigest()[:16]
