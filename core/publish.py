"""Having a running server serve the new model, and proving that it answers."""

from __future__ import annotations

import httpx

from agentlm.errors import OperatorError

_PROBE = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}


def check_server(url: str, api_key: str | None) -> None:
    """Raise OperatorError if no server answers there: better before training than after."""
    with _client(url, api_key) as client:
        _send(client, "GET", "/v1/models")


def publish(url: str, api_key: str | None, name: str) -> str:
    """Add a registered model to a running server and ask it one thing; returns its answer.

    Raises OperatorError with what the server said if it can't serve the model.
    """
    with _client(url, api_key) as client:
        _send(client, "POST", "/v1/models", {"name": name})
        answer = _send(client, "POST", "/v1/chat/completions", {"model": name, **_PROBE})
    return str(answer.json()["choices"][0]["message"]["content"] or "")


def _client(url: str, api_key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    base = url.rstrip("/").removesuffix("/v1")
    # Loading weights into a busy server takes a while; finding out that there is none does not.
    timeout = httpx.Timeout(600, connect=10)
    return httpx.Client(base_url=base, headers=headers, timeout=timeout)


def _send(
    client: httpx.Client, method: str, path: str, body: dict[str, object] | None = None
) -> httpx.Response:
    try:
        response = client.request(method, path, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OperatorError(f"{client.base_url}{path} can't be reached: {error}") from error
    if response.is_error:
        raise OperatorError(f"{client.base_url}{path} said: {_message(response)}")
    return response


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"
