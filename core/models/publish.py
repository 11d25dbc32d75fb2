"""Make a running server serve the new model, and verify that it answers."""

from __future__ import annotations

from agentlm.remote import connect, send

_PROBE = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}


def check_server(url: str, api_key: str | None) -> None:
    """Raise OperatorError if no server answers there. Better to learn that before training."""
    with connect(url, api_key) as client:
        send(client, "GET", "/v1/models")


def publish(url: str, api_key: str | None, name: str) -> str:
    """Add a registered model to a running server and ask it one question. Returns its answer.

    Raises OperatorError with the server's message if it can't serve the model.
    """
    with connect(url, api_key) as client:
        send(client, "POST", "/v1/models", {"name": name})
        answer = send(client, "POST", "/v1/chat/completions", {"model": name, **_PROBE})
    return str(answer["choices"][0]["message"]["content"] or "")
