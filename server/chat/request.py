"""From the body of a chat request to what its choices share, checked once before anything runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agentlm.agent.ask import Ask, ToolChoice
from agentlm.agent.loop import Limits
from agentlm.agent.tool import Tool
from agentlm.errors import RequestError
from agentlm.messages import Message, ToolCall, ToolSpec
from agentlm.server.callers import allowed_families
from agentlm.server.chat.approved import Approved
from agentlm.server.conversation.keys import Conversation
from agentlm.server.models.served import ServedModel, ServedModels
from agentlm.server.openai.chat_request import ChatRequest
from agentlm.server.openai.tools import (
    OWN_LABEL,
    AllowedToolsChoice,
    NamedToolChoice,
    ServerToolChoice,
    WireTool,
    client_tools,
    server_families,
)
from agentlm.server.settings import ServeSettings
from agentlm.store import ApiKey
from agentlm.tools.run_tools import RunTools
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Interaction, Step

Kinds = Mapping[str, Set[str]]
"""The names of the server's tools in a request, by the types that a choice may name."""


@dataclass(frozen=True)
class Request:
    completion_id: str
    owner: str
    created: float
    served: ServedModel
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    """All tools that the model knows, the client's and the server's."""
    own: RunTools | None
    """The tools that run here."""
    ask: Ask
    limits: Limits
    metadata: dict[str, str]
    user: str | None = None
    """The client's user. It is kept in the trajectory's metadata unless these name one."""
    stored: bool = False
    """List it among the caller's stored completions."""
    keep: bool = True
    """False: keep only counts and audit in the log, no text, ids or arguments."""
    may_train: bool = True
    return_token_ids: bool = False
    """Return the ids of prompt and answer."""
    passed_on: dict[str, Any] = field(default_factory=dict)
    """Fields that only the server which runs the model reads, as the client wrote them."""
    after: Interaction | None = None
    """The answer that it goes on from, given by id; None: found by the messages."""
    echo: dict[str, Any] = field(default_factory=dict)
    """Fields that the answer repeats, in the caller's form."""
    handed_back: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    """See `Conversation.handed_back`."""
    watched: bool = False
    """Clients poll for it during the run, so its state is in the log at every moment."""
    approved: Approved | None = None
    """Calls to make before the model goes on. Until then their results are empty in `messages`."""
    may_be_shortened: bool = False
    """See `Conversation.may_be_shortened`."""
    began: float = field(default_factory=time.monotonic)
    """When it came, by the monotonic clock: durations are measured from here."""

    @property
    def conversation(self) -> Conversation:
        """The conversation that it continues."""
        return Conversation(
            self.owner,
            self.served.name,
            self.messages,
            self.tools,
            self.after,
            self.handed_back,
            may_be_shortened=self.may_be_shortened,
            kept=self.keep,
        )


@dataclass(frozen=True)
class Brought:
    """Tools of MCP servers that the request itself names."""

    tools: Sequence[Tool] = ()
    """Tools that run without an approval."""
    to_approve: Sequence[Tool] = ()
    """Tools whose calls the client has to approve. These calls are returned to it like its own."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Secrets that are sent to the servers, by their names."""


@dataclass(frozen=True)
class History:
    """The conversation of a request whose body does not contain all of it as messages."""

    messages: tuple[Message, ...]
    """The whole conversation."""
    after: Interaction | None
    """See `Request.after`."""
    echo: dict[str, Any]
    """See `Request.echo`."""
    handed_back: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    """See `Conversation.handed_back`."""
    watched: bool = False
    """See `Request.watched`."""
    brought: Brought = Brought()
    approved: Mapping[int, ToolCall] = field(default_factory=dict)
    """See `Approved.calls`."""
    may_be_shortened: bool = False
    """See `Conversation.may_be_shortened`."""


@dataclass(frozen=True)
class RequestReader:
    """Reads requests. There is one for the life of the server."""

    settings: ServeSettings
    models: ServedModels
    toolbox: Toolbox

    def read(
        self,
        body: ChatRequest,
        caller: ApiKey,
        history: History | None = None,
    ) -> Request:
        """Raises RequestError with the field that asks for something impossible."""
        served, agent = self.models.find(body.model)
        served.check(body)
        served = served.with_template(body.chat_template_kwargs or {})
        offered = allowed_families(caller, self.toolbox.families())
        families = offered if agent else server_families(body.tools)
        check_families(body.tools, caller, self.toolbox)
        brought = history.brought if history else Brought()
        own = self._own(families, caller, brought) if families or brought.tools else None
        to_approve = [
            spec.model_copy(update={"owner": "client"})
            for spec in self.toolbox.for_request(
                (), owner=caller.name, brought=brought.to_approve
            ).specs()
        ]
        client = client_tools(body.tools)
        ours = (*(own.specs() if own else ()), *to_approve)
        _check_names(body, {spec.name for spec in ours})
        tools = (*ours, *client)
        if body.n > 1 and own:
            raise RequestError(
                "n must be 1 when the server runs tools: their side effects would double", param="n"
            )
        if body.return_token_ids and own:
            raise RequestError(
                "return_token_ids tells one answer's ids: those of a run with the server's tools "
                "are in its trajectory",
                param="return_token_ids",
            )
        none = body.tool_choice == "none"
        return Request(
            completion_id=f"chatcmpl-{uuid.uuid4().hex}",
            owner=caller.name,
            created=time.time(),
            served=served,
            messages=history.messages if history else body.read_messages(),
            tools=() if none else tools,
            own=None if none else own,
            ask=self._ask(body, tools, partial(self._kinds, families, caller, brought)),
            limits=served.bounds(self._limits(body)),
            metadata=body.metadata or {},
            user=body.user,
            stored=body.store is True,
            keep=body.store is not False and caller.log == "full",
            may_train=caller.may_train,
            return_token_ids=bool(body.return_token_ids),
            passed_on=served.passed_on(body),
            after=history.after if history else None,
            echo=history.echo if history else {},
            handed_back=history.handed_back if history else {},
            watched=history.watched if history else False,
            approved=self._approved(history, caller) if history and history.approved else None,
            may_be_shortened=history.may_be_shortened if history else False,
        )

    def _own(self, families: Sequence[str], caller: ApiKey, brought: Brought) -> RunTools:
        return self.toolbox.for_request(
            families, owner=caller.name, brought=brought.tools, secrets=brought.secrets
        )

    def _approved(self, history: History, caller: ApiKey) -> Approved:
        """Raises RequestError if the request does not name the server of one."""
        brought = history.brought
        tools = self.toolbox.for_request(
            (),
            owner=caller.name,
            brought=(*brought.tools, *brought.to_approve),
            secrets=brought.secrets,
        )
        named = {spec.name for spec in tools.specs()}
        for call in history.approved.values():
            if call.name not in named:
                label, _, name = call.name.rpartition("__")
                raise RequestError(
                    f"tools: {name!r} was approved, and its server {label!r} is not among them",
                    param="tools",
                )
        return Approved(history.approved, tools)

    def _kinds(self, families: Sequence[str], caller: ApiKey, brought: Brought) -> Kinds:
        by_family: dict[str, Set[str]] = {
            family: {spec.name for spec in self._own([family], caller, Brought()).specs()}
            for family in families
        }
        own = {name for family, names in by_family.items() if family != "mcp" for name in names}
        theirs = {tool.name for tool in (*brought.tools, *brought.to_approve)}
        kinds: dict[str, Set[str]] = {OWN_LABEL: own, **by_family}
        kinds["mcp"] = theirs.union(by_family.get("mcp", ()))
        return kinds

    def _ask(self, body: ChatRequest, tools: Sequence[ToolSpec], kinds: Callable[[], Kinds]) -> Ask:
        choice, allowed = _tool_choice(body, [tool.name for tool in tools], kinds)
        return Ask(
            sampling=body.sampling(),
            tools=() if choice == "none" else tuple(tools),
            choice=choice,
            thoughts=body.reasoning_effort != "none",
            allowed=allowed,
            answer_form=body.answer_form(),
            answer_param=body.answer_param,
            constrained=body.constrained,
            # The rest of a turn's tokens is for its thought, even if each character takes a token.
            max_string_chars=self.settings.max_turn_tokens * 3 // 4,
            logprobs=bool(body.logprobs),
            streamed=body.stream,
        )

    def _limits(self, body: ChatRequest) -> Limits:
        turns = self.settings.max_turns
        if body.max_tool_calls is not None:
            turns = min(turns, body.max_tool_calls + 1)  # the last turn has to be the answer
        return Limits(
            turns=turns,
            tokens=body.sampling().max_tokens,
            turn_tokens=self.settings.max_turn_tokens,
            observation_tokens=self.settings.observation_tokens,
        )


def check_families(tools: Sequence[WireTool] | None, caller: ApiKey, toolbox: Toolbox) -> None:
    """Raises RequestError for a type of tools that the caller is not offered."""
    offered = ("function", *allowed_families(caller, toolbox.families()))
    for index, tool in enumerate(tools or ()):
        if tool.type not in offered:
            raise RequestError(
                f"{_why_not(tool, caller, toolbox)}; offered: {', '.join(offered)}",
                param=f"{tool.place(index)}.type",
            )


def _why_not(tool: WireTool, caller: ApiKey, toolbox: Toolbox) -> str:
    written = repr(tool.written_type[:64])
    if tool.type in toolbox.families():
        return f"the key {caller.name!r} may not use tools of type {written}"
    remedy = toolbox.remedy(tool.type)
    if remedy is None:
        return f"unknown tool type {written}"
    return f"tools of type {written} are not offered here: the operator would have to {remedy}"


def _check_names(body: ChatRequest, taken: Set[str]) -> None:
    for index, tool in enumerate(body.tools or ()):
        if tool.function is not None and tool.function.name in taken:
            raise RequestError(
                f"{tool.function.name!r} is a tool of the server in this request; rename yours",
                param=f"{tool.place(index)}.function.name",
            )


def _tool_choice(
    body: ChatRequest, names: Sequence[str], kinds: Callable[[], Kinds]
) -> tuple[ToolChoice | frozenset[str], frozenset[str] | None]:
    """What the first turn must do, and which tools any turn may call; None: all."""
    choice = body.tool_choice or "auto"
    if isinstance(choice, NamedToolChoice | ServerToolChoice):
        return _chosen(choice, names, kinds, "tool_choice"), None
    if isinstance(choice, AllowedToolsChoice):
        allowed = [
            _chosen(each, names, kinds, f"tool_choice.allowed_tools.tools[{index}]")
            for index, each in enumerate(choice.allowed_tools.tools)
        ]
        return choice.allowed_tools.mode, frozenset[str]().union(*allowed)
    if choice == "required" and not names:
        raise RequestError("tool_choice 'required' needs tools", param="tool_choice")
    return choice, None


def _chosen(
    choice: NamedToolChoice | ServerToolChoice,
    names: Sequence[str],
    kinds: Callable[[], Kinds],
    place: str,
) -> frozenset[str]:
    """The names of the tools that are meant. Raises RequestError if there are none."""
    if isinstance(choice, ServerToolChoice):
        members = choice.chosen(kinds().get(choice.type, set()) & {*names})
        if not members:
            chosen = dict(choice.written)
            raise RequestError(f"{place} names {chosen}, which is not among the tools", param=place)
        return members
    if choice.function.name not in names:
        raise RequestError(
            f"{place} names {choice.function.name!r}, which is not among the tools",
            param=f"{place}.function.name",
        )
    return frozenset({choice.function.name})
