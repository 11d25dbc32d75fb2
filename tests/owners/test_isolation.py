"""Whatever id of another's a key guesses, it is answered as one that nobody has."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from agentlm.store import ApiKey
from support.background import in_background
from support.serving import running

HI: Any = [{"role": "user", "content": "Hi"}]
CALL = 'Thought: I look.\nAction: bash\nAction Input: {"command": "ls"}'
CLIENT_CALL = 'Thought: I ask.\nAction: lookup\nAction Input: {"key": "a"}'
LOOKUP: Any = {"type": "function", "function": {"name": "lookup"}}
CHAT = "/v1/chat/completions"
FILE = {"file": ("rows.jsonl", b"{}\n"), "purpose": (None, "batch")}


@dataclass
class World:
    """Ann has one of everything, Bob has a trajectory of his own."""

    ann: httpx.Client
    bob: httpx.Client
    ids: dict[str, str] = field(default_factory=dict)
    """Ann's, and Bob's `own`."""

    def unknown(self) -> dict[str, str]:
        """Ids of the same form and length that nobody has."""
        return {
            kind: identity if kind == "own" else re.sub("[0-9a-f]", "0", identity[:-8]) + "00000000"
            for kind, identity in self.ids.items()
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    policy = directory / "policy.yaml"
    policy.write_text("tools:\n  bash: ask\n")
    options = {"api_key": "root", "tool_policy": policy, "approval_wait_s": 60}
    replies = ["Hello.", CLIENT_CALL, "Hi Bob.", CALL, *["Again."] * 50]
    with in_background(running(directory, replies, "chatml", options)) as server:
        ann, bob = (client(server, name) for name in ("ann", "bob"))
        with ann, bob, ThreadPoolExecutor() as pool:
            world = World(ann, bob)
            answer = ask(ann, store=True)
            world.ids["trajectory"] = answer.headers["x-trajectory-id"]
            world.ids["completion"] = answer.json()["id"]
            world.ids["response"] = world.ids["completion"].replace("chatcmpl-", "resp_")
            called = ask(ann, tools=[LOOKUP]).json()["choices"][0]["message"]["tool_calls"][0]
            world.ids["call"] = called["id"]
            begun = {"items": [{"role": "user", "content": "Hi"}]}
            world.ids["conversation"] = ann.post(CONVERSATIONS, json=begun).json()["id"]
            listed = ann.get(f"{CONVERSATIONS}/{world.ids['conversation']}/items").json()
            world.ids["item"] = listed["data"][0]["id"]
            world.ids["own"] = ask(bob).headers["x-trajectory-id"]
            world.ids["file"] = ann.post("/v1/files", files=FILE).json()["id"]
            waiting = pool.submit(ask, ann, tools=[{"type": "bash"}])
            world.ids["approval"] = awaited_approval(ann)
            yield world
            decider = {"authorization": "Bearer root"}
            route = f"/v1/approvals/{world.ids['approval']}"
            ann.post(route, json={"approve": True}, headers=decider).raise_for_status()
            waiting.result()


def client(server: Any, name: str) -> httpx.Client:
    secret = asyncio.run(server.store.keys.create(ApiKey(name=name)))
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=60)


def ask(http: httpx.Client, **fields: Any) -> httpx.Response:
    answer = http.post(CHAT, json={"model": "tiny", "messages": HI, **fields})
    answer.raise_for_status()
    return answer


def awaited_approval(http: httpx.Client) -> str:
    for _ in range(500):
        if waiting := http.get("/v1/approvals").json()["data"]:
            return str(waiting[0]["id"])
        time.sleep(0.02)
    raise AssertionError("no call waits")


CONVERSATIONS = "/v1/conversations"
CONVERSATION = CONVERSATIONS + "/{conversation}"
JOB = "/v1/fine_tuning/jobs/{trajectory}"
TRAJECTORY = "/v1/trajectories/{trajectory}"
BY_ID: list[tuple[str, str, Any]] = [
    ("GET", TRAJECTORY, None),
    ("GET", "/v1/trajectories/{completion}", None),
    ("DELETE", TRAJECTORY, None),
    ("POST", TRAJECTORY, {"metadata": {"a": "b"}}),
    ("GET", TRAJECTORY + "/family", None),
    ("GET", TRAJECTORY + "/learnable", None),
    ("POST", TRAJECTORY + "/feedback", {"value": 1}),
    ("POST", "/v1/trajectories/{completion}/feedback", {"value": 1}),
    ("POST", "/v1/trajectories/{own}/feedback", {"value": 1, "completion_id": "{completion}"}),
    ("POST", TRAJECTORY + "/score", {"reward": 1}),
    ("GET", TRAJECTORY + "/files", None),
    ("GET", TRAJECTORY + "/files/a", None),
    ("PUT", TRAJECTORY + "/files/a", None),
    ("GET", CHAT + "/{completion}", None),
    ("GET", CHAT + "/{completion}/messages", None),
    ("POST", CHAT + "/{completion}", {"metadata": {}}),
    ("DELETE", CHAT + "/{completion}", None),
    ("GET", "/v1/trajectories/{response}", None),
    ("GET", "/v1/responses/{response}", None),
    ("GET", "/v1/responses/{response}/input_items", None),
    ("GET", "/v1/responses/{response}?stream=true", None),
    ("POST", "/v1/responses/{response}/cancel", {}),
    ("DELETE", "/v1/responses/{response}", None),
    ("GET", CONVERSATION, None),
    ("POST", CONVERSATION, {"metadata": {}}),
    ("GET", CONVERSATION + "/items", None),
    ("POST", CONVERSATION + "/items", {"items": [{"role": "user", "content": "Hi"}]}),
    ("GET", CONVERSATION + "/items/{item}", None),
    ("DELETE", CONVERSATION + "/items/{item}", None),
    ("DELETE", CONVERSATION, None),
    ("POST", "/v1/responses", {"model": "tiny", "input": "a", "conversation": "{conversation}"}),
    (
        "POST",
        "/v1/responses",
        {"model": "tiny", "input": "a", "previous_response_id": "{response}"},
    ),
    (
        "POST",
        "/v1/responses/input_tokens",
        {"model": "tiny", "input": "a", "conversation": "{conversation}"},
    ),
    ("GET", "/v1/files/{file}", None),
    ("GET", "/v1/files/{file}/content", None),
    ("DELETE", "/v1/files/{file}", None),
    ("GET", "/v1/trajectories?after={trajectory}", None),
    ("GET", "/v1/trajectories?text=Hi&after={trajectory}", None),
    ("GET", CHAT + "?after={completion}", None),
    ("GET", "/v1/files?after={file}", None),
]
ADMINISTRATORS: list[tuple[str, str, Any]] = [
    ("GET", JOB, None),
    ("GET", JOB + "/events", None),
    ("GET", JOB + "/run", None),
    ("GET", JOB + "/checkpoints", None),
    ("POST", JOB + "/cancel", {}),
    ("POST", JOB + "/pause", {}),
    ("POST", JOB + "/resume", {}),
    ("GET", "/v1/evaluations/{trajectory}", None),
    ("GET", "/v1/evaluations/{trajectory}/runs", None),
    ("POST", "/v1/aliases/{trajectory}/promote", {"model": "tiny"}),
    ("POST", "/v1/aliases/{trajectory}/rollback", {}),
    ("DELETE", "/v1/models/{trajectory}", None),
    ("POST", "/v1/approvals/{approval}", {"approve": True}),
]


def names(requests: list[tuple[str, str, Any]]) -> list[str]:
    return [f"{method} {path}" for method, path, _ in requests]


@pytest.mark.parametrize(("method", "path", "body"), BY_ID, ids=names(BY_ID))
def test_anothers_is_as_one_that_does_not_exist(
    world: World, method: str, path: str, body: Any
) -> None:
    theirs, none = (send(world.bob, method, path, body, ids) for ids in guesses(world))

    assert theirs.status_code == 404
    assert shape(theirs, world.ids) == shape(none, world.unknown())
    if method == "GET" and not path.endswith("/files/a"):
        assert send(world.ann, method, path, body, world.ids).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), ADMINISTRATORS, ids=names(ADMINISTRATORS))
def test_what_is_the_administrators_is_refused_unread(
    world: World, method: str, path: str, body: Any
) -> None:
    theirs, none = (send(world.bob, method, path, body, ids) for ids in guesses(world))

    assert theirs.status_code == 403
    assert shape(theirs, world.ids) == shape(none, world.unknown())


def test_every_route_with_an_id_is_tried(world: World) -> None:
    paths = world.ann.get("/openapi.json").json()["paths"]
    there = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, operations in paths.items()
        for method in operations
        if "{" in path
    }
    tried = {
        (method, re.sub(r"{\w+}|(?<=/files/)a$", "{}", path))
        for method, path, _ in BY_ID + ADMINISTRATORS
    }

    # Models are everybody's.
    assert there - tried == {("GET", "/v1/models/{}")}


@pytest.mark.parametrize("path", ["/v1/trajectories", CHAT, "/v1/files", "/v1/approvals"])
def test_lists_hold_ones_own_only(world: World, path: str) -> None:
    listed = world.bob.get(path).text

    assert not [
        identity for kind, identity in world.ids.items() if kind != "own" and identity in listed
    ]


def test_a_call_of_anothers_is_not_answered(world: World) -> None:
    call = {"id": world.ids["call"], "type": "function"}
    call["function"] = {"name": "lookup", "arguments": '{"key": "a"}'}  # type: ignore[assignment]
    result = {"role": "tool", "tool_call_id": world.ids["call"], "content": "42"}
    assistant = {"role": "assistant", "content": "", "tool_calls": [call]}

    answer = ask(world.bob, messages=[*HI, assistant, result], tools=[LOOKUP])

    begun = world.bob.get(f"/v1/trajectories/{answer.json()['id']}").json()
    assert (begun["owner"], begun["parent_id"]) == ("bob", None)
    assert len(begun["interactions"]) == 1


def test_a_request_that_another_key_made_once_is_run_again(world: World) -> None:
    once = {"idempotency-key": "the same"}
    body = {"model": "tiny", "messages": HI}

    hers, his = (http.post(CHAT, json=body, headers=once) for http in (world.ann, world.bob))

    assert hers.json()["id"] != his.json()["id"]
    assert "idempotent-replayed" not in his.headers


def guesses(world: World) -> tuple[dict[str, str], dict[str, str]]:
    return world.ids, world.unknown()


def send(
    http: httpx.Client, method: str, path: str, body: Any, ids: dict[str, str]
) -> httpx.Response:
    filled = body and {
        name: value.format(**ids) if isinstance(value, str) else value
        for name, value in body.items()
    }
    return http.request(method, path.format(**ids), json=filled)


def shape(answer: httpx.Response, ids: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Body and headers, ids by their kinds."""
    text = answer.text
    for kind, identity in ids.items():
        text = text.replace(identity, kind)
    varying = ("date", "x-request-id")
    return text, {name: value for name, value in answer.headers.items() if name not in varying}
