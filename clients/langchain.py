"""LangChain's chat model for an AgentLM server.

    from agentlm.clients.langchain import ChatAgentLM

    model = ChatAgentLM(model="smollm2-135m", base_url="http://127.0.0.1:8000/v1")
    model.bind_tools([{"type": "bash"}]).invoke("How many files are in /etc?")

Needs `pip install '/path/to/agentlm[langchain]'`, and nothing of the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils import from_env, secret_from_env
from openai import AsyncOpenAI, OpenAI
from pydantic import ConfigDict, Field, SecretStr

from agentlm.clients.connections import async_http_client, http_client
from agentlm.clients.langchain_errors import model_errors
from agentlm.clients.langchain_messages import StreamReader, read_completion, to_wire
from agentlm.clients.langchain_tools import (
    Method,
    Schema,
    ToolLike,
    answer_fields,
    parsed,
    write_tool,
    write_tool_choice,
)

_OPTIONS = ("timeout", "extra_headers")
"""Options of a call that concern the HTTP client and are not fields of the request."""


class ChatAgentLM(BaseChatModel):
    """A model behind an AgentLM server, which can run tools of its own on the way to an answer."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """Name of a served model; `NAME:agent` is NAME with all of the server's tools."""
    base_url: str = Field(
        default_factory=from_env("AGENTLM_BASE_URL", default="http://127.0.0.1:8000/v1")
    )
    """The server's address, `/v1` included."""
    api_key: SecretStr | None = Field(
        default_factory=secret_from_env("AGENTLM_API_KEY", default=None)
    )
    """Sent as the bearer token; a server without keys ignores it."""
    temperature: float | None = None
    """0 is greedy; None leaves it to the server (1)."""
    max_tokens: int | None = None
    """Most tokens to sample, over all turns of an agent's run."""
    stop: list[str] | None = None
    """Strings that end the answer, unless the call has its own."""
    logprobs: bool | None = None
    """Put the answer's log-probabilities into `response_metadata["logprobs"]`."""
    top_logprobs: int | None = None
    """Number of likeliest alternatives to report for each token, up to 20."""
    model_kwargs: dict[str, Any] = {}
    """Any other field of the request: `seed`, `top_p`, `metadata`, `constrained`, …"""
    streaming: bool = False
    """Whether `invoke` streams too. False, if given, also keeps `stream` from streaming."""
    stream_usage: bool = True
    """End streams with the token counts."""
    timeout: float | None = None
    """Seconds; None: the openai client's own (10 minutes)."""
    max_retries: int = 2
    """Attempts after a lost connection and the statuses 408, 409, 429 and 5xx."""

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools: your own functions, whose calls come back as `tool_calls`, and
        families of the server's tools (`{"type": "bash"}`), which the server runs before it
        answers.

        `tool_choice` is `auto`, `none`, `any`, or a tool's name.
        """
        choice = write_tool_choice(tool_choice)
        choices = {"tool_choice": choice, "parallel_tool_calls": parallel_tool_calls}
        kwargs |= {name: value for name, value in choices.items() if value is not None}
        return self.bind(tools=[write_tool(tool, strict) for tool in tools], **kwargs)

    def with_structured_output(
        self,
        schema: Schema,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[ToolLike] = (),
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """This model, answering with an object of `schema` (pydantic, TypedDict or JSON schema).

        `json_schema` and `function_calling` hold decoding to the schema; `json_mode` gives any JSON
        object. The server's `tools` may run before a `json_schema` answer.
        """
        if tools and method != "json_schema":
            raise ValueError(f"tools need method 'json_schema', got {method!r}")
        fields = answer_fields(schema, method, strict)
        if tools:
            fields["tools"] = [write_tool(tool, strict) for tool in tools]
        output_format = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        model = self.bind(**fields, ls_structured_output_format=output_format, **kwargs)
        return parsed(model, schema, method, include_raw=include_raw)

    def get_token_ids(self, text: str) -> list[int]:
        """Ids of a text, from the tokenizer of the served model."""
        ids: list[int] = self._tokenized(prompt=text)["tokens"]
        return ids

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[ToolLike] | None = None
    ) -> int:
        """The exact number of prompt tokens of a conversation with these tools."""
        written = [write_tool(tool, None) for tool in tools or ()]
        count: int = self._tokenized(messages=to_wire(messages), tools=written)["count"]
        return count

    def _tokenized(self, **body: Any) -> dict[str, Any]:
        url = self.base_url.rstrip("/").removesuffix("/v1") + "/tokenize"
        with model_errors():
            return self._client.post(
                url, cast_to=dict[str, Any], body={"model": self.model, **body}
            )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        with model_errors():
            answer = self._client.chat.completions.with_raw_response.create(**request)
            return read_completion(answer.parse(), answer.headers)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        client = await self._async_client()
        with model_errors():
            answer = await client.chat.completions.with_raw_response.create(**request)
            return read_completion(answer.parse(), answer.headers)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._stream_request(messages, stop, kwargs)
        with model_errors():
            answer = self._client.chat.completions.with_raw_response.create(**request, stream=True)
            reader = StreamReader(answer.headers)
            with answer.parse() as events:
                for event in events:
                    yield reader.read(event)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._stream_request(messages, stop, kwargs)
        client = await self._async_client()
        with model_errors():
            answer = await client.chat.completions.with_raw_response.create(**request, stream=True)
            reader = StreamReader(answer.headers)
            async with answer.parse() as events:
                async for event in events:
                    yield reader.read(event)

    def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, call_options: dict[str, Any]
    ) -> dict[str, Any]:
        """Arguments for `create`. Fields go into `extra_body`, because the server has more of them
        than the openai package knows."""
        fields = {**self._fields, **call_options, **({"stop": stop} if stop else {})}
        options = {name: fields.pop(name) for name in _OPTIONS if name in fields}
        fields.pop("stream", None)
        return {
            "model": fields.pop("model", self.model),
            "messages": to_wire(messages),
            "extra_body": fields,
            **options,
        }

    def _stream_request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, call_options: dict[str, Any]
    ) -> dict[str, Any]:
        request = self._request(messages, stop, call_options)
        fields = request["extra_body"]
        if fields.get("n", 1) != 1:
            raise ValueError(f"n must be 1 on a stream, got {fields['n']}")
        if self.stream_usage:
            fields.setdefault("stream_options", {"include_usage": True})
        return request

    @property
    def _fields(self) -> dict[str, Any]:
        fields = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "stop": self.stop or None,
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
            **self.model_kwargs,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def _client(self) -> OpenAI:
        return OpenAI(http_client=http_client(), **self._connection)

    async def _async_client(self) -> AsyncOpenAI:
        return AsyncOpenAI(http_client=await async_http_client(), **self._connection)

    @property
    def _connection(self) -> dict[str, Any]:
        # Never None: then the openai client would send the user's key for OpenAI to this server.
        key = self.api_key.get_secret_value() if self.api_key else "none"
        timeout = {} if self.timeout is None else {"timeout": self.timeout}
        return {
            "base_url": self.base_url,
            "api_key": key,
            "max_retries": self.max_retries,
            **timeout,
        }

    # -- what LangChain asks of a model: its names and its abilities -----------------------------

    @property
    def _llm_type(self) -> str:
        return "agentlm-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "base_url": self.base_url, **self._fields}

    def _resolve_model_profile(self) -> ModelProfile:
        return ModelProfile(
            text_inputs=True,
            text_outputs=True,
            image_inputs=False,
            audio_inputs=False,
            reasoning_output=True,
            tool_calling=True,
            tool_choice=True,
            structured_output=True,
        )
