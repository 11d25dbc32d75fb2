"""The fields of a request, and their conversion to chat's terms.

Field names and meanings are OpenAI's. What this server can't do is refused by name instead of being
ignored, unless ignoring it doesn't affect the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import ConfigDict, Field

from agentlm.errors import RequestError
from agentlm.server.openai.chat_request import (
    ChatRequest,
    JSONSchemaFormat,
    ResponseFormat,
    SamplingFields,
)
from agentlm.server.openai.tools import WireTool
from agentlm.server.openai.wire import Items, Metadata, TemplateSettings, Wire, read_request
from agentlm.server.responses.mcp import McpServerTool
from agentlm.server.responses.namespace import NAMESPACE
from agentlm.server.responses.request.choice import AllowedOnly, NamedFunction, OtherTool
from agentlm.server.responses.request.tools import FlatTool

_LOGPROBS = "message.output_text.logprobs"
SOURCES = "web_search_call.action.sources"
RECORDED_INCLUDED = (SOURCES,)
"""Optional contents of an answer that is looked up."""
ENCRYPTED = "reasoning.encrypted_content"
_INCLUDED = (_LOGPROBS, ENCRYPTED, *RECORDED_INCLUDED)


class TextFormat(Wire):
    """A format for the answer."""

    type: Literal["text", "json_object", "json_schema"]
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None

    def as_chat(self) -> ResponseFormat:
        """Raises RequestError if the schema is missing."""
        if self.type != "json_schema":
            return ResponseFormat(type=self.type)
        if self.schema_ is None:
            param = "text.format.schema"
            raise RequestError(f"{param}: is required", param=param)
        schema = JSONSchemaFormat.model_validate(
            {"name": self.name, "strict": self.strict, "schema": self.schema_}
        )
        return ResponseFormat(type="json_schema", json_schema=schema)


class TextConfig(Wire):
    """How the answer is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Wire):
    """How much to think, and how thoughts are sent.

    Any kind of summary may be requested: a thought is short and is its own summary.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    """The same field by its old name."""
    context: Literal["auto", "all_turns"] | None = None
    """The thoughts of a run that is continued are always there."""
    mode: Literal["standard"] | None = None

    def echo(self) -> dict[str, Any]:
        """The settings as they are repeated."""
        return {"effort": self.effort, "summary": self.summary or self.generate_summary}


class StreamOptions(Wire):
    """How to stream."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    include_obfuscation: Literal[False] | None = None
    """No padding hides the length of a part."""
    include_usage: bool | None = None
    """Chat's field. The last event has the usage in any case."""


class ConversationName(Wire):
    """A conversation, by its id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str


class ResponseRequest(SamplingFields):
    """The body of `POST /v1/responses`."""

    model: str
    input: str | Annotated[list[Any], Field(min_length=1, max_length=16_384)] | None = None
    """Optional if the conversation that it goes on from ends with something to answer."""
    conversation: str | ConversationName | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: Annotated[Items[FlatTool], Field(max_length=1024)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedFunction | AllowedOnly | OtherTool = (
        "auto"
    )
    parallel_tool_calls: bool = True
    """Accepted without effect: each turn makes one call in any case."""
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    text: TextConfig = TextConfig()
    reasoning: Reasoning = Reasoning()
    metadata: Metadata = {}
    store: bool = True
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    """This field and the next are repeated, without effect: prompts are cached by their content."""
    include: Items[str] = []
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    background: bool = False
    chat_template_kwargs: TemplateSettings | None = None
    """vLLM's: settings of the model's chat template, if it reads them."""
    constrained: bool = True
    """Not in OpenAI's API: constrain the form of tool calls while decoding."""

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation that it goes on from."""
        named = self.conversation
        return named.id if isinstance(named, ConversationName) else named

    @property
    def logprobs(self) -> bool:
        """Whether the answer has its tokens' log-probabilities."""
        return _LOGPROBS in self.include

    def as_chat(self) -> ChatRequest:
        """Convert it to chat's form, without the conversation. Raises RequestError."""
        self._check()
        tools, choice = self._chat_tools(), self.tool_choice
        chosen = (
            choice if isinstance(choice, str) else choice.as_chat("tool_choice", self.tools or ())
        )
        sampling = {name: getattr(self, name) for name in SamplingFields.model_fields}
        return ChatRequest.model_construct(
            **sampling,
            model=self.model,
            messages=[],
            tools=tools or None,
            tool_choice=chosen,
            stream=self.stream,
            logprobs=self.logprobs or None,
            top_logprobs=self.top_logprobs if self.logprobs else None,
            max_completion_tokens=self.max_output_tokens,
            max_tool_calls=self.max_tool_calls,
            response_format=self.text.format.as_chat() if self.text.format else None,
            user=self.user,
            metadata=self.metadata,
            # Lists contain only the completions that a client asked chat to store.
            store=None if self.store else False,
            reasoning_effort=self.reasoning.effort,
            verbosity=self.text.verbosity,
            service_tier=self.service_tier,
            chat_template_kwargs=self.chat_template_kwargs,
            constrained=self.constrained,
        )

    def _chat_tools(self) -> list[WireTool]:
        """As chat names them, those of namespaces last."""
        plain: list[WireTool] = []
        named: list[WireTool] = []
        for index, tool in enumerate(self.tools or ()):
            place = f"tools[{index}]"
            if tool.type == NAMESPACE:
                named += tool.of_namespace(place)
            elif not tool.is_brought:
                plain.append(tool.as_chat(place).converted_from(place, tool.type))
        return plain + named

    def servers(self) -> dict[str, McpServerTool]:
        """The MCP servers that the request itself names, by their places. Raises RequestError."""
        return {
            f"tools[{index}]": tool.server(f"tools[{index}]")
            for index, tool in enumerate(self.tools or ())
            if tool.is_brought
        }

    def _check(self) -> None:
        check_included(self.include, _INCLUDED)
        if self.input is self.conversation is self.previous_response_id is None:
            raise RequestError("input: is required", param="input")
        if self.conversation is not None and self.previous_response_id is not None:
            raise RequestError(
                "give either conversation or previous_response_id", param="previous_response_id"
            )
        if self.stream_options is not None and not self.stream:
            raise RequestError("stream_options needs stream to be true", param="stream_options")
        if self.top_logprobs and not self.logprobs:
            raise RequestError(f"top_logprobs needs {_LOGPROBS!r} in include", param="top_logprobs")
        if self.background and not self.store:
            raise RequestError(
                "background needs store to be true: the answer is looked up", param="background"
            )
        if self.background:
            check_included(self.include, RECORDED_INCLUDED)

    def echo(self) -> dict[str, Any]:
        """The fields that the answer repeats."""
        text = self.text.model_dump(exclude_none=True, by_alias=True)
        choice = self.tool_choice
        named = {"conversation": {"id": self.conversation_id}} if self.conversation else {}
        return named | {
            "instructions": self.instructions,
            "previous_response_id": self.previous_response_id,
            "tools": [tool.echo() for tool in self.tools or ()],
            "tool_choice": choice if isinstance(choice, str) else choice.echo(),
            "parallel_tool_calls": self.parallel_tool_calls,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "presence_penalty": self.presence_penalty or 0.0,
            "frequency_penalty": self.frequency_penalty or 0.0,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "text": {"format": {"type": "text"}} | text,
            "reasoning": self.reasoning.echo(),
            "truncation": self.truncation,
            "top_logprobs": self.top_logprobs or 0,
            "store": self.store,
            "background": self.background,
            "service_tier": self.service_tier or "default",
            "user": self.user,
            "safety_identifier": self.safety_identifier,
            "prompt_cache_key": self.prompt_cache_key,
        }


def check_included(names: Sequence[str], known: Sequence[str], param: str = "include") -> None:
    """Raises RequestError for contents that no answer has."""
    for name in names:
        if name not in known:
            why = _NOT_INCLUDED.get(name, f"known: {', '.join(known)}")
            raise RequestError(f"{param}: {name[:64]!r} is not supported; {why}", param=param)


_NOT_INCLUDED = {
    _LOGPROBS: "they are not kept for an answer that is looked up",
    "reasoning.encrypted_content": "the id of a response that can be looked up is enough to go on",
    "web_search_call.results": "the trajectory holds what was found",
    **dict.fromkeys(
        (
            *("file_search_call.results", "code_interpreter_call.outputs"),
            "computer_call_output.output.image_url",
        ),
        "nobody here can run such a call",
    ),
}
_REFUSED = {
    "prompt": "there are no stored prompts here",
    "context_management": "a conversation that is cut is not the one that is recorded",
    "moderation": "nothing here moderates",
}
"""OpenAI's fields that are not supported here, and what to use instead."""
_WITHOUT_EFFECT = {"prompt_cache_options", "prompt_cache_retention", "client_metadata"}
"""The last is Codex's, for statistics."""


def read_response_request(body: Any) -> ResponseRequest:
    """Check a decoded body. Raises RequestError with the first wrong field."""
    for name, why in _REFUSED.items():
        if isinstance(body, dict) and body.get(name) is not None:
            raise RequestError(f"{name} is not supported: {why}", param=name)
    openais = ResponseCreateParamsBase.__annotations__
    return read_request(ResponseRequest, body, openais, _WITHOUT_EFFECT)


def read_count_request(body: Any, model: str) -> ResponseRequest:
    """The same for a body whose tokens are to be counted, by default for `model`."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name not in InputTokenCountParams.__annotations__ and value is not None:
                raise RequestError(
                    f"{name[:64]} has no meaning where input is counted", param=name[:64]
                )
        body = {"model": model} | {name: it for name, it in body.items() if it is not None}
    return read_response_request(body)
