"""A stand-in for a server whose model plays the experts' moves: for tests of rollouts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from agentlm.environments.db.environment import DbEnvironment
from agentlm.environments.task import Split, Task


@dataclass
class StandIn:
    """An OpenAI-compatible server whose model plays the experts' moves."""

    tasks: dict[str, Task]
    ours: bool = True
    """Name trajectories, as our own server does."""
    failures: int = 0
    """Requests to answer with 500 first."""
    fails_every: int = 0
    """Of so many requests, scores included, one is answered with 500."""
    weak_models: set[str] = field(default_factory=set)
    """These answer nonsense."""
    weights: dict[str, str] = field(default_factory=dict)
    """Model → the version of its weights, as our server tells it."""
    reply: dict[str, Any] | None = None
    """Say this instead, always."""
    score_status: int = 200
    """Answer scores with this; what is not found is not taken either."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    _answers: int = 0

    def complete(self, request: Request) -> Response:
        if self.failures or self._fails():
            self.failures = max(0, self.failures - 1)
            return Response(json.dumps({"error": {"message": "down"}}), 500)
        body = request.get_json()
        self.requests.append(body)
        task = self.tasks[body["metadata"]["task_id"]]
        turn = self._turn(body["messages"])
        message = self.reply or self._move(task, turn)
        if body["model"] in self.weak_models:
            message = {"role": "assistant", "content": "I don't know."}
        headers = {"x-trajectory-id": f"traj_{task.id}"} if self.ours else {}
        if version := self.weights.get(body["model"]):
            headers["x-weights-version"] = version
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        completion = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        }
        return Response(json.dumps(completion), headers=headers, mimetype="application/json")

    def _fails(self) -> bool:
        self._answers += 1
        return bool(self.fails_every) and self._answers % self.fails_every == 0

    @staticmethod
    def _turn(messages: list[dict[str, Any]]) -> int:
        """How many turns it has had since the question, which an example may precede."""
        question = max(i for i, message in enumerate(messages) if message["role"] == "user")
        return sum(message["role"] == "assistant" for message in messages[question:])

    def _move(self, task: Task, turn: int) -> dict[str, Any]:
        move = task.gold[turn]
        message: dict[str, Any] = {"role": "assistant", "reasoning_content": move.thought}
        if move.action is None:
            return message | {"content": move.answer}
        function = {"name": move.action.name, "arguments": json.dumps(move.action.arguments)}
        call = {"id": f"call_{task.id}_{turn}", "type": "function", "function": function}
        return message | {"content": None, "tool_calls": [call]}

    def list_models(self, _: Request) -> Response:
        listed = [
            {"id": name, "object": "model", "weights_version": version}
            for name, version in self.weights.items()
        ]
        body = json.dumps({"object": "list", "data": listed})
        return Response(body, mimetype="application/json")

    def score(self, request: Request) -> Response:
        if self.score_status != 404:
            self.scores[request.path.split("/")[-2]] = request.get_json()
        if self._fails():
            return Response(json.dumps({"error": {"message": "down"}}), 500)
        if self.score_status != 200:
            return Response(json.dumps({"error": {"message": "lost"}}), self.score_status)
        return Response("{}", mimetype="application/json")


def stand_in(httpserver: HTTPServer, split: Split, count: int) -> StandIn:
    """Listen at `httpserver`, knowing the first tasks of the database environment."""
    tasks = {task.id: task for task in islice(DbEnvironment().generate(split), count)}
    server = StandIn(tasks)
    httpserver.expect_request("/v1/models").respond_with_handler(server.list_models)
    httpserver.expect_request("/v1/chat/completions").respond_with_handler(server.complete)
    for task_id in tasks:
        httpserver.expect_request(f"/v1/trajectories/traj_{task_id}/score").respond_with_handler(
            server.score
        )
    return server
