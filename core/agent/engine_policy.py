"""The policy that generates: one turn of a model by an engine, in exact ids."""

from __future__ import annotations

import codecs
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from agentlm.agent.ask import Ask
from agentlm.agent.tool import Observation
from agentlm.agent.transcript import Transcript
from agentlm.engine.protocol import (
    Adapter,
    Constraint,
    Delta,
    Engine,
    GenerateRequest,
    TokenLogprob,
)
from agentlm.messages import ToolCall, new_call_id
from agentlm.prompt.form import structural_tag
from agentlm.prompt.grammar import FINAL_ANSWER, Fragment, Parsed, Parser
from agentlm.prompt.observation import observe
from agentlm.prompt.render import Renderer, Turn
from agentlm.trajectory import Origin, Step

_UTF8 = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class Token:
    """One sampled token of the answer, with the likeliest alternatives at its place."""

    token_id: int
    logprob: float
    top: Sequence[TokenLogprob]


@dataclass
class EnginePolicy:
    """Writes turns with an engine; see `policy.Policy`."""

    engine: Engine
    renderer: Renderer
    ask: Ask
    weights_version: str
    """Version of the adapter. Without an adapter, each turn gets the version that the engine had
    loaded when the turn began."""
    adapter: Adapter | None = None
    salt: str = ""
    on_tokens: Callable[[Sequence[Token]], None] | None = None
    """Called with the answer's tokens, before the fragment that they spell. Tokens that spell
    nothing of it (stripped space, a stop string) are left out. Raw text reports all tokens, also
    the end of the turn and those that spell no whole character."""

    def room(self, transcript: Transcript) -> int:
        return self.engine.max_model_len - len(transcript.ids)

    def observe(
        self, transcript: Transcript, call: ToolCall, observation: Observation, max_tokens: int
    ) -> Observation:
        self.end_turn(transcript)
        text = self.renderer.content.truncate(
            observation.text, max(1, max_tokens), "\n… [{n} tokens left out] …\n"
        )
        steps = self.renderer.extend([Turn("user", observe(text), call.id)], transcript.steps)
        update = {"failed": observation.failed, "seconds": observation.seconds}
        transcript.add(*(step.model_copy(update=update) for step in steps))
        return replace(observation, text=text)

    def force_answer(self, transcript: Transcript) -> None:
        transcript.add(self.renderer.force(FINAL_ANSWER))

    def end_turn(self, transcript: Transcript) -> None:
        """Close the assistant's turn if the model did not."""
        if transcript.ids[-1] != self.renderer.end_of_turn_id:
            transcript.add(self.renderer.end_turn())

    async def next(
        self, transcript: Transcript, *, max_tokens: int, first: bool
    ) -> AsyncGenerator[Fragment, None]:
        answering = not self.ask.tools or transcript.steps[-1].origin is Origin.FORCED
        constraint = self._constraint(answering, first)
        parser = Parser(
            "answer" if answering else "thought",
            self.ask.sampling.stop,
            keep_stop=self.ask.sampling.include_stop_str_in_output,
            verbatim=self.ask.verbatim,
        )
        turn = _Turn(constraint, time.time())
        tokens = _AnswerTokens(self.renderer, verbatim=self.ask.verbatim)
        request = GenerateRequest(
            tuple(transcript.ids),
            self.ask.sampling,
            max_tokens,
            constraint=constraint,
            adapter=self.adapter,
            salt=self.salt,
            whole=not self.ask.streamed and not self._can_be_cut(answering, constraint),
        )
        parsed: Parsed | None = None
        try:
            async with aclosing(self.engine.generate(request)) as deltas:
                async for delta in deltas:
                    turn.weights_version = turn.weights_version or self._loaded()
                    turn.add(delta)
                    fragments = parser.feed(delta.text)
                    if self.on_tokens:
                        tokens.add(delta)
                        self.on_tokens(tokens.reported(parser))
                    for fragment in fragments:
                        yield turn.named(fragment)
                    if parser.cut is not None:
                        break
            fragments, parsed = parser.finish()
            if self.on_tokens:
                self.on_tokens(tokens.reported(parser) + tokens.rest(parser))
            for fragment in fragments:
                yield turn.named(fragment)
        finally:
            self._note(transcript, turn, parser, parsed)

    def _loaded(self) -> str:
        return self.engine.weights_version if self.adapter is None else self.weights_version

    def _can_be_cut(self, answering: bool, constraint: Constraint | None) -> bool:
        """Whether the turn's own text can end it: by a stop string, or by an observation it
        invents."""
        return bool(self.ask.sampling.stop) or not (answering or constraint)

    def _constraint(self, answering: bool, first: bool) -> Constraint | None:
        if answering:
            form = self.ask.answer_form
            return None if form is None else Constraint.of_form(form, self.ask.answer_param)
        if not self.ask.constrained:
            return None
        choice = self.ask.choice if first else "auto"
        named = choice if isinstance(choice, frozenset) else frozenset()
        tag = structural_tag(
            [tool for tool in self.ask.tools if tool.name in named] or self.ask.callable(),
            # If the turn must call a tool, the caller has decided already; there is nothing to
            # think about.
            thoughts=self.renderer.thoughts and self.ask.thoughts and choice == "auto",
            answer=choice == "auto",
            answer_form=self.ask.answer_form,
            control=self.renderer.control_spellings,
            max_string_chars=self.ask.max_string_chars,
        )
        return Constraint(structural_tag=tag)

    def _note(
        self, transcript: Transcript, turn: _Turn, parser: Parser, parsed: Parsed | None
    ) -> None:
        """Put what was sampled into the transcript, whether the turn was finished or not."""
        transcript.sampled_tokens += len(turn.ids)
        if not any(step.origin is Origin.SAMPLED for step in transcript.steps[transcript.first :]):
            transcript.cached_tokens = turn.cached_tokens
        if not turn.ids and parsed is None:
            return
        kept = turn.ids if parser.cut is None else turn.ids[: self._token_at(turn, parser.cut)]
        if self.ask.tools:
            transcript.reasoning_tokens += self._thought_tokens(turn, parser, parsed)
        transcript.add(self._step(turn, parsed, kept, parser.cut))
        if parser.cut is not None:
            transcript.add(self.renderer.end_turn())

    def _thought_tokens(self, turn: _Turn, parser: Parser, parsed: Parsed | None) -> int:
        """How many tokens come before the call or the answer. A label counts to what it begins."""
        begins = parser.call_offset
        if parsed is not None and parsed.answer is not None:
            begins = parser.answer_offset or 0
        return len(turn.ids) if begins is None else self._token_at(turn, begins)

    def _step(self, turn: _Turn, parsed: Parsed | None, kept: list[int], cut: int | None) -> Step:
        text = "".join(turn.text)
        reading = parsed or Parsed()
        call = None
        if reading.name is not None:
            call = ToolCall(id=turn.call_id, name=reading.name, arguments=reading.arguments or "")
        logprobs = tuple(turn.logprobs[: len(kept)])
        return Step(
            role="assistant",
            origin=Origin.SAMPLED,
            text=text if cut is None else text[:cut],
            token_ids=tuple(kept),
            logprobs=logprobs,
            # After the mask a lone legal token has probability 1, and log 1 is exactly 0.
            single_choice=tuple(p == 0.0 for p in logprobs) if turn.constraint else None,
            thought=reading.thought,
            call=call,
            answer=reading.answer,
            error=reading.error or self._refusal(reading.name),
            finish_reason=self._finish(turn, parsed, cut),
            discarded_ids=tuple(turn.ids[len(kept) :]),
            sampling=self.ask.sampling,
            weights_version=turn.weights_version or self.weights_version,
            tokenizer_digest=self.renderer.digest,
            constraint_digest=turn.constraint.digest() if turn.constraint else None,
            started=turn.started,
            seconds=time.monotonic() - turn.began,
        )

    def _refusal(self, name: str | None) -> str | None:
        """Why this tool can't be called, or None. Unconstrained decoding can call any name."""
        allowed = self.ask.allowed
        if name is None or allowed is None or name in allowed:
            return None
        return f"the tool {name!r} is not among those that are allowed now"

    def _finish(
        self, turn: _Turn, parsed: Parsed | None, cut: int | None
    ) -> Literal["stop", "length", "cancelled"]:
        if parsed is None:
            return "cancelled"
        return "stop" if cut is not None else turn.finish_reason

    def _token_at(self, turn: _Turn, offset: int) -> int:
        """Index of the first sampled token that holds the character at `offset` of the text."""
        whole = len("".join(turn.text))
        # A tokenizer that swallows a text's first space shortens every prefix by the same amount.
        swallowed = max(0, whole - len(self.renderer.decode(turn.ids)))
        return bisect_right(
            range(len(turn.ids)),
            offset,
            key=lambda index: len(self.renderer.decode(turn.ids[: index + 1])) + swallowed,
        )


@dataclass
class _Turn:
    """What the engine has generated in the turn so far."""

    constraint: Constraint | None
    started: float
    """Unix seconds. Durations are measured from `began`, which is monotonic."""
    began: float = field(default_factory=time.monotonic)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    finish_reason: Literal["stop", "length"] = "length"
    cached_tokens: int = 0
    weights_version: str = ""
    call_id: str = field(default_factory=new_call_id)
    """Id of the call that the turn may make. A stream sends it before the turn is over."""

    def named(self, fragment: Fragment) -> Fragment:
        return fragment._replace(call_id=self.call_id) if fragment.kind == "call" else fragment

    def add(self, delta: Delta) -> None:
        if not self.ids:
            self.cached_tokens = delta.cached_tokens
        self.ids += delta.token_ids
        self.logprobs += delta.logprobs
        self.text.append(delta.text)
        self.finish_reason = delta.finish_reason or self.finish_reason


class _AnswerTokens:
    """A turn's tokens on their way to the client: each is reported with the text that it spells."""

    def __init__(self, renderer: Renderer, *, verbatim: bool) -> None:
        self._renderer = renderer
        self._verbatim = verbatim
        self._length = 0
        self._waiting: deque[tuple[int, int, Token]] = deque()
        """Each token with the offsets in the turn's text where it begins and ends."""

    def add(self, delta: Delta) -> None:
        tops = delta.top_logprobs or [()] * len(delta.token_ids)
        tokens = map(Token, delta.token_ids, delta.logprobs, tops)
        ends = [*self._ends(delta)]
        for token, begin, end in zip(tokens, [self._length, *ends], ends, strict=False):
            if self._verbatim or token.token_id != self._renderer.end_of_turn_id:
                self._waiting.append((begin, end, token))
        self._length += len(delta.text)

    def _ends(self, delta: Delta) -> Iterator[int]:
        """Where each token's text ends. The last one ends where the delta ends."""
        decode, last = _UTF8(errors="ignore").decode, len(delta.text)
        content_ids = [token for token in delta.token_ids if token != self._renderer.end_of_turn_id]
        lengths = [
            *accumulate(len(decode(self._renderer.token_bytes(token))) for token in content_ids)
        ]
        # A tokenizer that swallows a text's first space yields less text than its tokens spell.
        swallowed = max(0, lengths[-1] - last) if lengths and not self._length else 0
        for end in lengths[: len(delta.token_ids) - 1]:
            yield self._length + min(last, max(0, end - swallowed))
        yield self._length + last

    def reported(self, parser: Parser) -> list[Token]:
        """The tokens whose text the parser has yielded as the answer since the last call."""
        reported = []
        offset = parser.answer_offset
        while offset is not None and self._waiting and self._waiting[0][0] < parser.answer_end:
            begin, end, token = self._waiting.popleft()
            if end > offset or begin >= offset:
                reported.append(token)
        return reported

    def rest(self, parser: Parser) -> list[Token]:
        """The tokens that are left at the end of raw text that nothing cut. They spell nothing, but
        a client that scores a prompt counts on every token it asked for."""
        left = self._waiting if self._verbatim and parser.cut is None else ()
        return [token for _, _, token in left]
