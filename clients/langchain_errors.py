"""Errors under the names of both the openai package and LangChain.

Each class derives from the openai package's error and from LangChain's, so code written for either
catches it: `except openai.BadRequestError` and `except ContextOverflowError` alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import openai
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)


class AgentLMInvalidRequestError(openai.BadRequestError, ModelInvalidRequestError):
    """400: a field of the request is wrong; `param` names it."""


class AgentLMContextOverflowError(openai.BadRequestError, ContextOverflowError):
    """400: the conversation does not fit into the model's context."""


class AgentLMAuthenticationError(openai.AuthenticationError, ModelAuthenticationError):
    """401: no API key, or one that the server does not know."""


class AgentLMPermissionDeniedError(openai.PermissionDeniedError, ModelPermissionDeniedError):
    """403: the server refuses this caller or origin."""


class AgentLMNotFoundError(openai.NotFoundError, ModelNotFoundError):
    """404: no such model is served."""


class AgentLMRateLimitError(openai.RateLimitError, ModelRateLimitError):
    """429: too many requests with this key."""


class AgentLMServerError(openai.InternalServerError, ModelAPIError):
    """5xx: the server failed, or can't take work now."""


class AgentLMConnectionError(openai.APIConnectionError, ModelConnectionError):
    """The server can't be reached."""


class AgentLMTimeoutError(openai.APITimeoutError, ModelTimeoutError):
    """The answer took longer than `timeout`."""


class AgentLMStreamError(openai.APIError, ModelAPIError):
    """The server failed in the middle of a stream."""


_OF_STATUS = (
    AgentLMInvalidRequestError,
    AgentLMAuthenticationError,
    AgentLMPermissionDeniedError,
    AgentLMNotFoundError,
    AgentLMRateLimitError,
    AgentLMServerError,
)


@contextmanager
def model_errors() -> Iterator[None]:
    """Raise errors of the openai package as those of this module."""
    try:
        yield
    except openai.APIError as error:
        raise _classified(error) from error


def _classified(error: openai.APIError) -> openai.APIError:
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APITimeoutError):
        return AgentLMTimeoutError(error.request)
    if isinstance(error, openai.APIConnectionError):
        return AgentLMConnectionError(message=error.message, request=error.request)
    if type(error) is openai.APIError:
        return AgentLMStreamError(error.message, error.request, body=error.body)
    return error


def _of_status(error: openai.APIStatusError) -> openai.APIStatusError:
    kinds = (kind for kind in _OF_STATUS if isinstance(error, kind.__bases__[0]))
    kind: type[openai.APIStatusError] = next(kinds, type(error))
    if error.code == "context_length_exceeded":
        kind = AgentLMContextOverflowError
    return kind(error.message, response=error.response, body=error.body)
