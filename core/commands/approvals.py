"""`agentlm approvals`: look at the calls that wait on a running server, and decide on them."""

from __future__ import annotations

from typing import Any

from pydantic_settings import CliPositionalArg
from rich.table import Table
from rich.text import Text

from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.console import Console
from agentlm.remote import connect, send
from agentlm.settings import Settings


class ServerSettings(Settings):
    """The running server."""

    url: str = "http://127.0.0.1:8000"
    """Its address."""
    api_key: str | None = None
    """Key for the server."""


class ListApprovals(ServerSettings):
    """List the calls that wait for a decision."""


class Approve(ServerSettings):
    """Let a call run. The trajectory that waited for it goes on."""

    id: CliPositionalArg[str]
    """An id from the list."""


class Deny(ServerSettings):
    """Keep a call from running. The model reads that it was denied, and the trajectory goes on."""

    id: CliPositionalArg[str]
    """An id from the list."""
    reason: str | None = None
    """The model reads this reason."""


def main(argv: list[str]) -> int:
    return dispatch(COMMANDS, argv, "agentlm approvals")


def list_approvals(settings: ListApprovals) -> int:
    table = Table("id", "owner", "tool", "arguments", box=None, pad_edge=False)
    for item in _ask(settings, "GET", "/v1/approvals")["data"]:
        call = item["call"]
        arguments = " ".join(call["arguments"].split())
        cells = (item["id"], item["owner"], call["name"], arguments)
        table.add_row(*map(Text, cells))
    Console(highlight=False).print(table)
    return 0


def approve(settings: Approve) -> int:
    _ask(settings, "POST", f"/v1/approvals/{settings.id}", {"approve": True})
    return 0


def deny(settings: Deny) -> int:
    body = {"approve": False, "reason": settings.reason}
    _ask(settings, "POST", f"/v1/approvals/{settings.id}", body)
    return 0


COMMANDS = {
    "list": Subcommand(ListApprovals, list_approvals),
    "approve": Subcommand(Approve, approve),
    "deny": Subcommand(Deny, deny),
}


def _ask(settings: ServerSettings, method: str, path: str, body: Any = None) -> Any:
    with connect(settings.url, settings.api_key) as client:
        return send(client, method, path, body)
