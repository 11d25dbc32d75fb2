"""Writing runs into the log, as imported text in the canonical grammar.

This keeps what another server's model or the expert did. No ids are known, so training renders it
by the model's own renderer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentlm.environments.agentinstruct import TextGrammar
from agentlm.environments.error_classes import Exchange
from agentlm.environments.playing.play import Play
from agentlm.environments.playing.progress import Kept, Result
from agentlm.environments.playing.recording import ServerRecorder
from agentlm.environments.task import Action, Environment, tools_of
from agentlm.messages import Message, Role
from agentlm.prompt.grammar import write, write_answer
from agentlm.prompt.observation import observe
from agentlm.store import Entry, Store
from agentlm.trajectory import Origin, Step, Trajectory


class StoreRecorder:
    """Writes the run into the log as imported text."""

    def __init__(
        self,
        store: Store,
        environment: Environment,
        *,
        model: str,
        owner: str,
        metadata: Mapping[str, str],
        grammar: TextGrammar | None = None,
    ) -> None:
        self._store = store
        self._grammar = grammar
        self._environment = environment
        self._model = model
        self._owner = owner
        self._metadata = metadata

    async def keep(self, run: Play) -> Kept:
        """Append the steps."""
        trajectory = Trajectory(
            owner=self._owner,
            source="rollout",
            model=self._model,
            environment=run.task.environment,
            task_id=run.task.id,
            tools=() if self._grammar else tools_of(self._environment, run.task),
            outcome=run.outcome,
            metadata={
                **self._metadata,
                "family": run.task.family,
                "template": run.task.template,
                "split": run.task.split,
                "try": str(run.attempt),
            },
            created=run.started,
        )
        steps = tuple(steps_of(run, self._grammar))
        await self._store.append(Entry(trajectory=trajectory, first_step=0, steps=steps))
        return Kept(trajectory.id, "log")

    async def score(self, result: Result) -> None:
        """Add the verdict."""
        assert result.trajectory_id is not None
        await self._store.score(
            result.trajectory_id,
            self._owner,
            reward=result.reward,
            outcome=result.outcome,
            error_classes=result.error_classes,
        )


class EitherRecorder:
    """Keeps a run with the server if that names the trajectory, else in the log."""

    def __init__(self, server: ServerRecorder, store: StoreRecorder) -> None:
        self._server = server
        self._store = store

    async def keep(self, run: Play) -> Kept:
        recorder = self._store if run.trajectory_id is None else self._server
        return await recorder.keep(run)

    async def score(self, result: Result) -> None:
        recorder = self._store if result.pending == "log" else self._server
        await recorder.score(result)


def steps_of(run: Play, grammar: TextGrammar | None = None) -> Iterator[Step]:
    """The run as text: in the canonical grammar, or in one of AgentInstruct's."""
    opening = grammar.opening(run.task.instruction) if grammar else run.opening
    for message in opening:
        text = observe(message.content) if message.role == "tool" else write(message)
        yield _step(message.role, text, tool_call_id=message.tool_call_id)
    for exchange in run.exchanges:
        yield _turn(exchange, grammar)
        observation = exchange.observation
        if exchange.call is not None and observation is not None:
            seen = grammar.observation(observation.text) if grammar else observe(observation.text)
            yield _step("tool", seen, tool_call_id=exchange.call.id, failed=observation.failed)


def _turn(exchange: Exchange, grammar: TextGrammar | None) -> Step:
    thought, call, answer = exchange.thought, exchange.call, exchange.answer
    if grammar is not None:
        action = Action(name=call.name, arguments=call.parsed()) if call else None
        text = grammar.turn(thought, action, answer)
    elif call is not None:
        text = write(Message(role="assistant", content=thought, tool_calls=(call,)))
    else:
        text = write_answer(answer or "", thought)
    return _step(
        "assistant",
        text,
        thought=thought or None,
        call=call,
        answer=answer,
        error=exchange.invalid,
    )


def _step(role: Role, text: str, **fields: Any) -> Step:
    return Step(role=role, origin=Origin.IMPORTED, text=text, token_ids=None, **fields)
