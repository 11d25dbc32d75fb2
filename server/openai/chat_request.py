"""The wire format of chat requests: what a request may contain, and how it is read.

Field names and meanings are OpenAI's. What this server can't do is refused by name instead of being
ignored, unless ignoring it doesn't affect the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from pydantic import ConfigDict, Field
from pydantic_core import from_json

from agentlm.errors import RequestError
from agentlm.messages import Message, ToolCall
from agentlm.server.openai.schemas import BOUNDS, check_ends, check_held, check_size, json_form
from agentlm.server.openai.tools import (
    AllowedToolsChoice,
    NamedToolChoice,
    ServerToolChoice,
    WireTools,
)
from agentlm.server.openai.wire import (
    FIRST_WRONG,
    Items,
    Metadata,
    TemplateSettings,
    Wire,
    read_request,
)
from agentlm.trajectory import Sampling


class TextPart(Wire):
    """One text part of a message's content."""

    type: Literal["text", "refusal"]
    text: str = ""
    refusal: str = ""

    def read(self) -> str:
        """Its text, under the name that its type requires."""
        return self.refusal if self.type == "refusal" else self.text


class WireFunctionCall(Wire):
    """Name and arguments of a call in a client's history."""

    name: str
    arguments: str = "{}"


class WireToolCall(Wire):
    """A call in a client's history."""

    id: str
    type: Literal["function"] = "function"
    function: WireFunctionCall


class WireMessage(Wire):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Items[TextPart] | None = None
    refusal: str | None = None
    tool_calls: Items[WireToolCall] | None = None
    tool_call_id: str | None = None

    def read(self) -> Message:
        """Convert it to the project's own type."""
        content = self.content or self.refusal or ""
        if not isinstance(content, str):
            content = "".join(part.read() for part in content)
        calls = (
            ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in self.tool_calls or ()
        )
        return Message(
            role="system" if self.role == "developer" else self.role,
            content=content,
            tool_calls=tuple(calls),
            tool_call_id=self.tool_call_id,
        )


Messages = Annotated[Items[WireMessage], Field(min_length=1, max_length=16_384)]


class StructuredOutputs(Wire):
    """vLLM's: one of these ways to constrain the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    json_: Annotated[dict[str, Any] | str | None, Field(alias="json")] = None
    json_object: Literal[True] | None = None
    regex: Annotated[str, Field(max_length=512)] | None = None
    choice: Annotated[Items[str], Field(min_length=1, max_length=1000)] | None = None
    grammar: Annotated[str, Field(max_length=8192)] | None = None

    def form(self) -> dict[str, Any]:
        """The constraint as an element of a structural tag. Raises RequestError unless one field is
        set."""
        name = "structured_outputs"
        if len(self.model_fields_set) != 1:
            raise RequestError(f"{name}: give one of {', '.join(_HELD_TO)}", param=name)
        if self.regex is not None:
            return {"type": "regex", "pattern": self.regex}
        if self.grammar is not None:
            return {"type": "grammar", "grammar": self.grammar}
        if self.choice is not None:
            choices = [{"type": "const_string", "value": choice} for choice in self.choice]
            return choices[0] if len(choices) == 1 else {"type": "or", "elements": choices}
        return json_form(self._schema())

    def _schema(self) -> dict[str, Any]:
        param = "structured_outputs.json"
        schema: Any = {"type": "object"} if self.json_ is None else self.json_
        if isinstance(schema, str):
            if len(schema) > BOUNDS["bytes"]:
                most = f"at most {BOUNDS['bytes']} bytes"
                raise RequestError(f"{param}: a schema may have {most}", param=param)
            try:
                schema = from_json(schema, allow_inf_nan=False)  # not deeper than a body's
            except ValueError as error:
                raise RequestError(f"{param}: it is no JSON: {error}", param=param) from None
        if not isinstance(schema, dict):
            got = type(schema).__name__
            raise RequestError(f"{param}: a schema must be an object, got {got}", param=param)
        return schema


_HELD_TO = ("json", "json_object", "regex", "choice", "grammar")


class JSONSchemaFormat(Wire):
    """The schema of a structured answer."""

    name: str = "answer"
    strict: bool | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(Wire):
    """A format for the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchemaFormat | None = None

    def schema_of_answer(self) -> dict[str, Any] | None:
        """The JSON schema of the answer; None: free text. Raises RequestError if it is missing."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "object"}
        if self.json_schema is None:
            param = "response_format.json_schema"
            raise RequestError(f"{param}: is required", param=param)
        return self.json_schema.schema_


class StreamOptions(Wire):
    """How to stream."""

    include_usage: bool = False


Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
Stop = Annotated[str, Field(max_length=256)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class SamplingFields(Wire):
    """How tokens are drawn, in chat and in raw completions alike."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[int, Bias], FIRST_WRONG] | None = None
    stop: Stop | Annotated[Items[Stop], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    """This field and the next five are vLLM's. 0 and -1 mean all tokens."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    stop_token_ids: Annotated[Items[TokenId], Field(max_length=128)] | None = None
    include_stop_str_in_output: bool | None = None

    def sampling_of(self, max_tokens: int | None, top_logprobs: int | None) -> Sampling:
        """The fields that the request sets, without the model's defaults. Raises RequestError."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if "" in stop:
            raise RequestError("a stop string can't be empty", param="stop")
        set_fields = {name: getattr(self, name) for name in SamplingFields.model_fields}
        set_fields |= {"max_tokens": max_tokens, "top_logprobs": top_logprobs, "stop": stop or None}
        set_fields["top_k"] = None if self.top_k is None else max(0, self.top_k)
        if max_tokens is not None and (self.min_tokens or 0) > max_tokens:
            raise RequestError(
                f"min_tokens is {self.min_tokens}, more than max_tokens, {max_tokens}",
                param="min_tokens",
            )
        return Sampling(**{name: value for name, value in set_fields.items() if value is not None})


class ChatRequest(SamplingFields):
    """The body of `POST /v1/chat/completions`."""

    model: str
    messages: Messages
    tools: WireTools | None = None
    tool_choice: (
        Literal["auto", "none", "required"]
        | NamedToolChoice
        | AllowedToolsChoice
        | ServerToolChoice
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    """Accepted without effect: each turn makes one call in any case."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=16)] = 1
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    prompt_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """vLLM's: the likelihood of the prompt's tokens, with this many alternatives."""
    return_token_ids: bool | None = None
    """vLLM's: return the ids of prompt and answer, as they are recorded."""
    user: str | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    modalities: Items[Literal["text"]] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """With a model of this server, `none` leaves out thoughts. The other values and the next two
    fields are for upstreams."""
    verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    chat_template_kwargs: TemplateSettings | None = None
    """vLLM's: settings of the model's chat template, if it reads them (`enable_thinking`)."""
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    """From OpenAI's Responses: how many calls of the server's tools a run may make."""
    constrained: bool = True
    """Not in OpenAI's API: constrain the form of tool calls while decoding. Turn it off for honest
    evaluation."""

    def read_messages(self) -> tuple[Message, ...]:
        return read_conversation(self.messages)

    def sampling(self) -> Sampling:
        """How to draw tokens."""
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError("top_logprobs needs logprobs to be true", param="top_logprobs")
        if self.prompt_logprobs is not None and self.stream:
            raise RequestError("prompt_logprobs can't be streamed", param="prompt_logprobs")
        if self.stream_options is not None and not self.stream:
            raise RequestError("stream_options needs stream to be true", param="stream_options")
        sampling = self.sampling_of(
            self.max_completion_tokens or self.max_tokens, self.top_logprobs
        )
        settings = {"chat_template_kwargs": self.chat_template_kwargs or {}}
        return sampling.model_copy(update=settings)

    @property
    def answer_param(self) -> str:
        """Name of the field that constrains the answer."""
        return "response_format" if self.structured_outputs is None else "structured_outputs"

    def answer_form(self) -> dict[str, Any] | None:
        """The constraint on the answer, as an element of a structural tag; None: free text.

        Raises RequestError if it is invalid, or if there are two.
        """
        schema = self.response_format.schema_of_answer() if self.response_format else None
        if self.structured_outputs is None:
            return None if schema is None else json_form(schema)
        if self.response_format is not None:
            raise RequestError(
                "give either response_format or structured_outputs", param="structured_outputs"
            )
        return self.structured_outputs.form()

    def check_schemas(self) -> None:
        """Raises RequestError for a schema that decoding can't enforce completely."""
        functions = {
            f"{tool.place(index)}.function.parameters": tool.function
            for index, tool in enumerate(self.tools or ())
            if tool.function is not None
        }
        schemas: dict[str, Any] = {name: each.parameters for name, each in functions.items()}
        form = self.answer_form()
        if form is not None and form["type"] == "json_schema":
            schemas[self.answer_param] = form["json_schema"]
        check_size(schemas)
        check_ends(schemas)
        if self.answer_param in schemas:
            check_held(schemas[self.answer_param], self.answer_param)
        for name, function in functions.items():
            if self.constrained and function.strict:
                check_held(function.parameters, name)

    def for_upstream(self) -> dict[str, Any]:
        """Fields that this server reads differently or not at all, unchanged."""
        return self.model_dump(include=_FOR_UPSTREAM, exclude_none=True, by_alias=True)


_FOR_UPSTREAM = {
    *("response_format", "structured_outputs", "reasoning_effort", "verbosity", "service_tier"),
    "chat_template_kwargs",
    *("max_tokens", "max_completion_tokens"),
}


def read_conversation(messages: Sequence[WireMessage]) -> tuple[Message, ...]:
    """The conversation. Raises RequestError for a message that is invalid in its place."""
    calls: set[str] = set()
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if message.role in ("system", "developer", "user") and message.content is None:
            raise RequestError(f"{place}.content: is required", param=f"{place}.content")
        if message.role == "tool":
            _check_result(message.tool_call_id, calls, f"{place}.tool_call_id")
        calls |= {call.id for call in message.tool_calls or ()}
    return tuple(message.read() for message in messages)


def _check_result(call_id: str | None, calls: Collection[str], param: str) -> None:
    if not call_id:
        raise RequestError("a tool message must name the call it answers", param=param)
    if call_id not in calls:
        raise RequestError(
            f"a tool message must follow the assistant's message with the call that it answers; no "
            f"message before it has the call {call_id[:64]!r}",
            param=param,
        )


# Fields of OpenAI's that don't affect the answer of a model here.
_WITHOUT_EFFECT = {
    *("parallel_tool_calls", "prediction"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    *("safety_identifier", "stream"),
}


def read_chat_request(body: Any) -> ChatRequest:
    """Check a decoded body. Raises RequestError with the first wrong field."""
    openais = CompletionCreateParamsBase.__annotations__
    return read_request(ChatRequest, body, openais, _WITHOUT_EFFECT)
