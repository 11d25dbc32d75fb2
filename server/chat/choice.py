"""One choice of one request: a run of the loop, and its row in the log."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from agentlm.agent.engine_policy import Token
from agentlm.agent.loop import CallEnded, Event, run_agent
from agentlm.agent.policy import Policy
from agentlm.agent.tool import ToolContext
from agentlm.agent.transcript import Transcript
from agentlm.engine.protocol import TokenLogprob
from agentlm.errors import UnavailableError
from agentlm.messages import Message
from agentlm.prompt.grammar import Fragment
from agentlm.server.chat.approved import Approved
from agentlm.server.chat.request import Request
from agentlm.server.conversation.beginning import Beginning
from agentlm.server.conversation.keys import continuation_key
from agentlm.server.metrics import Metrics
from agentlm.server.openai.answers import logprobs
from agentlm.store import Addition, Entry, KeptAnswer, Store
from agentlm.store.conversations import HELD_S
from agentlm.trajectory import Interaction, Outcome, Trajectory


@dataclass
class Choice:
    """Runs, records, and answers."""

    request: Request
    index: int
    store: Store
    metrics: Metrics
    beginning: Beginning
    content: list[str] = field(default_factory=list)
    """Parts of the answer, as they were yielded."""
    refusal: list[str] = field(default_factory=list)
    """Parts of a refusal, as they were yielded."""
    reasoning: list[str] = field(default_factory=list)
    """Parts of thoughts and tool activity, as a stream would send them. Streams don't fill it."""
    tokens: list[Token] = field(default_factory=list)
    """The answer's tokens since they were last taken."""
    scored: Sequence[Sequence[TokenLogprob]] | None = None
    """The likelihood of the prompt's tokens, if requested."""
    announced: bool = False
    """On a stream: whether the role was sent, which comes before any text."""
    call_streamed: bool = False
    """On a stream: whether the client's call was sent while it was generated."""
    delivered: int | None = None
    """On a stream: number of characters sent, as far as the server knows."""
    conversation_id: str | None = None
    """The named conversation that it goes on from, which is busy during the run."""
    items: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    """Returns the items to add to that conversation, once this choice has ended. They are committed
    with it."""
    sealed: Callable[[], str] | None = None
    """Returns what the client needs to go on from it without the log."""
    kept: Callable[[], KeptAnswer] | None = None
    """Returns the request's whole answer once this choice has ended. It is committed with it."""

    def __post_init__(self) -> None:
        self._spoke = False
        self._identity = f"traj_{uuid.uuid4().hex}"
        """Of the trajectory, if it is a new one."""
        beginning = self.beginning
        if self.request.approved is not None:
            # The prompt after them is not known yet.
            beginning = replace(beginning, steps=beginning.steps[: beginning.known])
        self._begin(beginning)

    def _begin(self, beginning: Beginning) -> None:
        request, self.beginning = self.request, beginning
        self.transcript = Transcript(beginning.steps)
        self.transcript.first = beginning.known
        self._saved = beginning.recorded
        self.trajectory = Trajectory(
            id=beginning.trajectory_id or self._identity,
            created=request.created,
            owner=request.owner,
            source=_source(request),
            model=request.served.name,
            environment=request.metadata.get("environment"),
            task_id=request.metadata.get("task_id"),
            tools=request.tools,
            parent_id=beginning.parent_id,
            parent_step=beginning.recorded if beginning.parent_id else None,
            metadata=({"user": request.user} if request.user else {}) | request.metadata,
            may_train=request.may_train,
        )

    async def run(self) -> AsyncGenerator[Event, None]:
        """Run the loop. Afterwards the answer is in the log; after a cancellation, call
        `record`."""
        with self.metrics.running.track_inprogress():
            try:
                async with self._renewing():
                    if self.request.approved is not None:
                        await self._make_approved(self.request.approved)
                    async with aclosing(self._events()) as events:
                        async for event in events:
                            yield event
            finally:
                if self.request.own is not None:
                    await self.request.own.close()
            await self.record()

    async def _events(self) -> AsyncGenerator[Event, None]:
        events = run_agent(
            self._policy(),
            self.request.own,
            self.transcript,
            ToolContext(self.trajectory.id, self.request.owner),
            limits=self.request.limits,
            commit=self._commit,
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, CallEnded):
                    self.metrics.call(event)
                    if self.request.watched:
                        await self._commit(self.transcript)
                elif isinstance(event, Fragment):
                    self._note(event)
                yield event

    async def _make_approved(self, approved: Approved) -> None:
        """Make the calls that the client approved, and begin after their results."""
        messages = list(self.request.messages)
        failed: dict[str, bool] = {}
        context = ToolContext(self.trajectory.id, self.request.owner)
        try:
            for index, call in approved.calls.items():
                made = await approved.make(call, self.store, context, keep=self.request.keep)
                messages[index] = messages[index].model_copy(update={"content": made.text})
                failed[call.id] = made.failed
            echo = self.request.echo | {"approved": failed}
            self.request = replace(self.request, messages=tuple(messages), echo=echo)
            asked = replace(self.request.conversation, take=False)
            resumed = await self.request.served.begin(self.store, asked)
        except Exception:
            self.transcript.end(Outcome.ERROR, None)
            raise
        finally:
            await approved.tools.close()
        first = self.beginning
        if (resumed.known, resumed.recorded) == (first.known, first.recorded):
            resumed = replace(first, steps=resumed.steps)  # the place is claimed already
        self._begin(resumed)
        if self.request.watched:
            await self._commit(self.transcript)

    async def announce(self) -> None:
        """Put it into the log before it runs, with the answer for a repetition of the request."""
        kept, self.kept = self.kept, None
        await self._append(self.interaction(), kept=kept() if kept else None)

    def _note(self, fragment: Fragment) -> None:
        if self.request.ask.streamed and not self._spoke:
            self._spoke = True
            self.metrics.first_token_seconds.observe(time.monotonic() - self.request.began)
        if fragment.kind == "answer":
            self.content.append(fragment.text)
        elif fragment.kind == "refusal":
            self.refusal.append(fragment.text)

    async def record(self) -> None:
        """Commit the steps that are not in the log yet, and the interaction in its final state.

        Called again after a run that was cancelled or failed, so that nothing is lost.
        """
        response = self.response()
        key = self.key()
        answered = self.transcript.finish_reason is not None
        self.metrics.choice(self.transcript, time.monotonic() - self.request.began)
        await self._append(
            self.interaction(),
            keys=(key,) if answered else (),
            tool_call_ids=tuple(call.id for call in response.tool_calls),
            kept=self.kept() if answered and self.kept else None,
            addition=self._addition(answered=answered),
        )

    def _addition(self, *, answered: bool) -> Addition | None:
        if self.conversation_id is None:
            return None
        return Addition(self.conversation_id, tuple(self.items()) if answered else ())

    @asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        """Renew its leases while it runs."""
        if self.conversation_id is None and not self.request.watched:
            yield
            return
        task = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            task.cancel()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(HELD_S / 3)
            with suppress(UnavailableError):
                if self.conversation_id is not None:
                    await self.store.conversations.renew(self.conversation_id)
                if self.request.watched:
                    await self.store.renew(self.trajectory.id, HELD_S)

    def key(self) -> str:
        """Key of the conversation that ends with the answer."""
        conversation = self.request.conversation
        return continuation_key(
            replace(conversation, messages=[*conversation.messages, self.response()])
        )

    def response(self) -> Message:
        """The answer for the client."""
        client_called = self.transcript.outcome is Outcome.REQUIRES_ACTION
        call = self.transcript.steps[-1].call if client_called else None
        return Message(
            role="assistant",
            content="".join(self.content),
            refusal="".join(self.refusal) or None,
            tool_calls=() if call is None else (call,),
        )

    def take_tokens(self) -> list[Token]:
        """The answer's tokens since the last call."""
        # The policy keeps a reference to this very list.
        taken = list(self.tokens)
        self.tokens.clear()
        return taken

    def take_logprobs(self) -> list[dict[str, Any]]:
        """The same in OpenAI's format."""
        return logprobs(self.take_tokens(), self.request.served.token_bytes)

    def prompt_ids(self) -> list[int]:
        """The ids of the prompt, as the engine got them."""
        return [token for step in self.beginning.steps for token in step.token_ids or ()]

    def token_ids(self) -> list[int]:
        """The ids of the answer, as they are recorded."""
        return self.transcript.ids[len(self.prompt_ids()) :]

    def _policy(self) -> Policy:
        ask = self.request.ask
        seed = ask.sampling.seed
        if seed is not None and self.index:
            # The choices of one request differ from each other, and are the same each time.
            sampling = ask.sampling.model_copy(update={"seed": seed + self.index})
            ask = replace(ask, sampling=sampling)
        return self.request.served.policy(
            ask,
            owner=self.request.owner,
            on_tokens=self.tokens.extend if ask.logprobs else None,
            passed_on=self.request.passed_on,
        )

    async def _commit(self, transcript: Transcript) -> None:
        await self._append(self.interaction() if self.request.watched else None)

    async def _append(
        self,
        interaction: Interaction | None,
        keys: tuple[str, ...] = (),
        tool_call_ids: tuple[str, ...] = (),
        kept: KeptAnswer | None = None,
        addition: Addition | None = None,
    ) -> None:
        steps = tuple(self.transcript.steps[self._saved :])
        header = self.trajectory.model_copy(update={"outcome": self.transcript.outcome})
        entry = Entry(
            trajectory=header,
            first_step=self._saved,
            steps=steps,
            interaction=interaction,
            keys=keys,
            tool_call_ids=tool_call_ids,
            kept=kept,
            addition=addition,
            content=self.request.keep,
            **({"lease_s": HELD_S} if self.request.watched else {}),
        )
        await self.store.append(entry)
        self._saved += len(steps)

    def interaction(self) -> Interaction:
        """Request and answer, as they are recorded."""
        return Interaction(
            completion_id=self.request.completion_id,
            choice=self.index,
            owner=self.request.owner,
            created=self.request.created,
            messages=self.request.messages,
            response=self.response(),
            finish_reason=self.transcript.finish_reason,
            sampling=self.request.ask.sampling,
            usage=self.transcript.usage(),
            stored=self.request.stored,
            metadata=self.request.metadata,
            echo=self.request.echo,
            trajectory_id=self.trajectory.id,
            first_step=self.beginning.known,
            end_step=len(self.transcript.steps),
            delivered=None if self.transcript.finish_reason else self.delivered,
        )


def _source(request: Request) -> Any:
    if request.metadata.get("environment") and request.metadata.get("task_id"):
        return "rollout"
    return "agent" if request.tools else "chat"
