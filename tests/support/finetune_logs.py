"""Small logs, as the server would write them for a tiny model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agentlm.messages import Message, ToolCall
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.prompt.grammar import parse
from agentlm.prompt.observation import observe
from agentlm.prompt.render import Renderer, Turn
from agentlm.store import Entry, Store
from agentlm.trajectory import Interaction, Origin, Outcome, Step, Trajectory

PREAMBLE = "You can use these tools:\n- bash: Run a shell command and get what it prints.\n" * 2
ANSWER = "Thought: I have the number.\nFinal Answer: 12 programs start with z."
CALL = 'Thought: I need to count.\nAction: bash\nAction Input: {"command": "ls /usr/bin | wc -l"}'


def registered(data_dir: Path, model: Path, name: str = "tiny", **fields: Any) -> ModelCard:
    """The card of a local model, in the registry of a data directory."""
    card = ModelCard(name=name, source="local", location=str(model), **fields)
    return Registry(data_dir).add(card)


def renderer(model: Path) -> Renderer:
    return Renderer.load(model, (model / "chat_template.jinja").read_text())


def sampled(by: Renderer, text: str) -> Step:
    """What the model said; in the agent's form it is parsed as the server does."""
    parsed = parse(text)
    call = parsed.name and ToolCall(id="call_1", name=parsed.name, arguments=parsed.arguments or "")
    return Step(
        role="assistant",
        origin=Origin.SAMPLED,
        text=text,
        token_ids=(*by.content.encode(text), by.end_of_turn_id),
        thought=parsed.thought,
        call=call or None,
        answer=parsed.answer,
        finish_reason="stop",
        tokenizer_digest=by.digest,
    )


def conversation(by: Renderer, task: str, *turns: str, observed: str = "12") -> tuple[Step, ...]:
    """A task, then what the model said, an observation between each two of it."""
    steps = by.open([Turn("user", task)], preamble=PREAMBLE)
    for index, text in enumerate(turns):
        if index:
            steps += by.extend([Turn("user", observe(observed), "call_1")])
        steps.append(sampled(by, text))
    return tuple(steps)


def trajectory(steps: Sequence[Step], **fields: Any) -> Trajectory:
    plain = {"owner": "ann", "source": "agent", "model": "tiny", "outcome": Outcome.COMPLETED}
    return Trajectory(**(plain | {"reward": 1.0, "steps": steps} | fields))


def interaction(of: Trajectory, first: int, end: int, completion_id: str) -> Interaction:
    return Interaction(
        completion_id=completion_id,
        owner=of.owner,
        messages=(Message(role="user", content="?"),),
        response=Message(role="assistant", content="!"),
        finish_reason="stop",
        trajectory_id=of.id,
        first_step=first,
        end_step=end,
    )


def write_log(data_dir: Path, trajectories: Sequence[Trajectory]) -> str:
    """Append whole trajectories to the log of a data directory; returns its URL."""
    data_dir.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{data_dir / 'agentlm.db'}"

    async def append(store: Store) -> None:
        for one in trajectories:
            await store.append(Entry(one, one.parent_step or 0, one.steps[one.parent_step or 0 :]))
            if one.reward is not None:
                await store.score(one.id, None, reward=one.reward)

    with closing(Store.open(url)) as store:
        asyncio.run(append(store))
    return url
