"""Requests from a command to a running server of ours; errors are for the operator."""

from __future__ import annotations

from typing import Any

import httpx

from agentlm.errors import OperatorError


def connect(url: str, api_key: str | None) -> httpx.Client:
    """A client for the server at a URL, with or without `/v1`. Raises OperatorError for a bad
    URL."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    base = url.rstrip("/").removesuffix("/v1")
    # Loading weights into a busy server takes a while; noticing that there is no server does not.
    timeout = httpx.Timeout(600, connect=10)
    try:
        return httpx.Client(base_url=base, headers=headers, timeout=timeout)
    except httpx.InvalidURL as error:
        raise OperatorError(f"{url} is not a URL: {error}") from error


def send(
    client: httpx.Client, method: str, path: str, body: dict[str, object] | None = None
) -> Any:
    """The decoded answer. Raises OperatorError with the server's message, or if there is no
    server."""
    try:
        response = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise OperatorError(f"{client.base_url}{path} can't be reached: {error}") from error
    if response.is_error:
        raise OperatorError(f"{client.base_url}{path} said: {_message(response)}")
    try:
        return response.json()
    except ValueError as error:
        raise OperatorError(f"{client.base_url}{path} is not a server of AgentLM") from error


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"
