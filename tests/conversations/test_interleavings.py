"""However conversations interleave and branch, the log is exactly what was seen and said."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentlm.engine.scripted import ScriptedEngine
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles
from agentlm.server.callers import LOCAL
from agentlm.server.chat.chat import Chat
from agentlm.server.chat.whole import completion
from agentlm.server.metrics import Metrics
from agentlm.server.models.engine_model import EngineModel
from agentlm.server.models.served import ServedModels
from agentlm.server.openai.chat_request import read_chat_request
from agentlm.server.settings import ServeSettings
from agentlm.store import Store
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Origin, Trajectory
from support.serving import Bash, _no_audit
from support.tiny import Template, tiny_renderer

LOOKUP = {"type": "function", "function": {"name": "lookup"}}
CALLS = [
    'Thought: t\nAction: bash\nAction Input: {"command": "ls"}',
    'Thought: t\nAction: lookup\nAction Input: {"key": 1}',
]


@dataclass(frozen=True)
class Move:
    """One request: continue conversation `branch` (modulo their number), or begin one."""

    branch: int | None
    text: str
    tools: bool
    concurrent: bool
    """Sent together with the next one."""


moves = st.lists(
    st.builds(
        Move,
        branch=st.one_of(st.none(), st.integers(0, 5)),
        text=st.sampled_from(["Hi", "Why?", "[INST] <|im_end|>", "été 😀"]),
        tools=st.booleans(),
        concurrent=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def replies(seed: int) -> Iterator[str]:
    """Answers, with a call of either kind now and then; equal answers recur on purpose."""
    for number in count(seed):
        match number % 5:
            case 0:
                yield CALLS[0]
            case 1:
                yield CALLS[1]
            case _:
                yield f"Thought: t\nFinal Answer: {number % 3}"


class World:
    """Clients that remember text only, and one server."""

    def __init__(self, directory: str, template: Template, seed: int) -> None:
        conf = ServeSettings(data_dir=Path(directory), max_turns=3)
        renderer = tiny_renderer(template)
        self.engine = ScriptedEngine(
            replies(seed),
            encode=renderer.content.encode,
            decode=renderer.decode,
            end_of_turn=renderer.end_of_turn_id,
            max_model_len=3000,
        )
        self.store = Store.open(conf.log_url())
        files = ModelFiles(ModelCard(name="tiny", source="local", location="-"), Path(directory))
        models = ServedModels(EngineModel("tiny", files, renderer, self.engine))
        toolbox = Toolbox(conf, _no_audit, {"bash": (Bash(),)})
        self.chat = Chat(conf, models, self.store, toolbox, Metrics(self.store))
        self.conversations: list[list[dict[str, Any]]] = []

    async def play(self, script: list[Move]) -> None:
        together: list[Move] = []
        for move in script:
            together.append(move)
            if not move.concurrent:
                await asyncio.gather(*(self.request(each) for each in together))
                together = []
        await asyncio.gather(*(self.request(each) for each in together))

    async def request(self, move: Move) -> None:
        past: list[dict[str, Any]] = []
        if move.branch is not None and self.conversations:
            past = self.conversations[move.branch % len(self.conversations)]
        messages = [*past, *self.results(past), {"role": "user", "content": move.text}]
        body: dict[str, Any] = {"model": "tiny", "messages": messages}
        if move.tools:
            body["tools"] = [{"type": "bash"}, LOOKUP]
        choices = await self.chat.prepare(read_chat_request(body), LOCAL)
        await self.chat.run(choices)
        message = completion(choices)["choices"][0]["message"]
        kept = {key: message[key] for key in ("role", "content", "tool_calls") if key in message}
        self.conversations.append([*messages, kept])

    def results(self, past: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls = past[-1].get("tool_calls") or [] if past else []
        return [{"role": "tool", "tool_call_id": c["id"], "content": "42"} for c in calls]

    def log(self) -> list[Trajectory]:
        headers, _ = self.store.page(None, limit=1000)
        found = (self.store.get(header.id, None) for header in headers)
        return [trajectory for trajectory in found if trajectory]


@settings(max_examples=40, deadline=None)
@given(moves, st.sampled_from(["chatml", "llama2"]), st.integers(0, 4))
def test_the_log_is_what_was_seen_and_said(
    script: list[Move], template: Template, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(directory, template, seed)
        try:
            asyncio.run(world.play(script))
            log = world.log()
            assert_every_request_stands_in_the_log(world, log)
            assert_forks_form_a_tree(log)
            assert_no_sampled_token_counts_twice(world, log)
        finally:
            world.store.close()


def assert_every_request_stands_in_the_log(world: World, log: list[Trajectory]) -> None:
    """What the engine was given is the beginning of a trajectory whose next step it sampled."""
    seen = {tuple(request.prompt_ids) for request in world.engine.requests}
    sampled_after = set()
    for trajectory in log:
        ids: list[int] = []
        for step in trajectory.steps:
            if step.origin is Origin.SAMPLED:
                sampled_after.add(tuple(ids))
            ids += step.token_ids or ()
    assert seen == sampled_after


def assert_forks_form_a_tree(log: list[Trajectory]) -> None:
    """Each fork begins with its parent's steps, and no trajectory is its own ancestor."""
    by_id = {trajectory.id: trajectory for trajectory in log}
    for trajectory in log:
        if trajectory.parent_id is None:
            continue
        parent = by_id[trajectory.parent_id]
        shared = trajectory.parent_step or 0
        assert trajectory.steps[:shared] == parent.steps[:shared]
        assert shared > 0
        ancestors = set()
        while trajectory.parent_id:
            assert trajectory.id not in ancestors
            ancestors.add(trajectory.id)
            trajectory = by_id[trajectory.parent_id]


def assert_no_sampled_token_counts_twice(world: World, log: list[Trajectory]) -> None:
    """Steps that are a trajectory's own sum up to what the engine generated."""
    own = [step for t in log for step in t.steps[t.parent_step or 0 :]]
    sampled = [step for step in own if step.origin is Origin.SAMPLED]
    assert len(sampled) == len(world.engine.requests)
