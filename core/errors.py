"""Every error that AgentLM raises on purpose, sorted by who can act on it.

    AgentLMError
    ├── RequestError            the caller of the API: answered as 4xx with `param`
    │   ├── NotFoundError       404: unknown model, trajectory, completion (or somebody else's)
    │   ├── ForbiddenError      403: the API key does not allow it
    │   ├── ConflictError       409: the thing is not in a state that allows this
    │   ├── RateLimitError      429: too many requests with this key
    │   └── ContextLengthError  400 `context_length_exceeded`
    ├── OperatorError           whoever runs the program: one line on stderr, exit code 2
    └── UnavailableError        nobody: 503, try again (store or engine is down)

`agent.ToolError` (the model can act on it) lives with the tool contract in `agent/tool.py`.
"""


class AgentLMError(Exception):
    """Root of the tree. `str(error)` is always safe to show to whoever can act on it."""


class RequestError(AgentLMError):
    """The request can't be served as it is.

    `param` names the offending field in the caller's own terms (`messages[0].content`). `code` is
    OpenAI's machine-readable word or None. `retry_after_s` says when to send the same request
    again.
    """

    status = 400
    type = "invalid_request_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class NotFoundError(RequestError):
    """It doesn't exist, or it belongs to another owner; the caller must not learn which."""

    status = 404


class ForbiddenError(RequestError):
    """The key is valid, but does not allow this."""

    status = 403
    type = "permission_error"


class RateLimitError(RequestError):
    """The key has used up its requests; `retry_after_s` says when the next one will be accepted."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, code="rate_limit_exceeded", retry_after_s=retry_after_s)


class ConflictError(RequestError):
    """The thing exists, but its state does not allow the operation."""

    status = 409


class ContextLengthError(RequestError):
    """The prompt alone fills the model's context."""

    def __init__(
        self, prompt_tokens: int, limit: int, *, param: str = "messages", exact: bool = True
    ) -> None:
        counted = f"{prompt_tokens}" if exact else f"more than {prompt_tokens}"
        # OpenAI's words: client libraries recognise this error by them.
        super().__init__(
            f"This model's maximum context length is {limit} tokens. However, your {param} "
            f"resulted in {counted} tokens. Please reduce the length of the {param}.",
            param=param,
            code="context_length_exceeded",
        )


class OperatorError(AgentLMError):
    """A setting, file, directory or address that the operator has to correct."""


class UnavailableError(AgentLMError):
    """The store or the engine can't take work now. The caller may try again."""
