"""`agentlm keys`: who may use a server, and how."""

from __future__ import annotations

import asyncio
import datetime
import sys
from contextlib import closing
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg, CliToggleFlag, SettingsConfigDict
from rich.table import Table
from rich.text import Text

from agentlm.commands.subcommands import Subcommand, dispatch
from agentlm.console import Console
from agentlm.errors import NotFoundError
from agentlm.printable import say
from agentlm.settings import Settings
from agentlm.store import ApiKey, Store


class CreateKey(Settings):
    """Create a key and print its secret, which is not kept and can't be shown again.

    agentlm keys create ann --requests-per-minute 60
    agentlm keys create guests --log metadata --no-may-train --tools sql,web
    """

    name: CliPositionalArg[Annotated[str, Field(min_length=1, max_length=200)]]
    """The owner of everything that is done with it."""
    admin: CliToggleFlag[bool] = False
    """Make it an administrator's: it may read and change what others own."""
    log: Literal["full", "metadata"] = "full"
    """What is kept of its requests; metadata means counts and audit, no text."""
    may_decide: bool = False
    """Whether it may approve and deny the calls, everybody's, that the tool policy asks about."""
    may_train: bool = True
    """Whether what it does may be trained on."""
    tools: tuple[str, ...] | None = None
    """The server's tools that it may use; the default is all of them."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests a minute; more get the status 429 and the time to wait. The default is no limit."""


class ListKeys(Settings):
    """List all keys, revoked ones included."""

    model_config = SettingsConfigDict(cli_shortcuts={"print-json": "json"})

    print_json: CliToggleFlag[bool] = False
    """Print one JSON object a line instead of a table."""


class RevokeKey(Settings):
    """Make a key invalid for good. What was done with it stays in the log."""

    name: CliPositionalArg[str]
    """A name from the list."""


def main(argv: list[str]) -> int:
    return dispatch(COMMANDS, argv, "agentlm keys")


def create_key(settings: CreateKey) -> int:
    """Only the secret goes to standard output."""
    settings.prepare_data_dir()
    key = ApiKey(**settings.model_dump(include=set(ApiKey.model_fields)))
    with closing(Store.open(settings.log_url())) as store:
        first = all(known.revoked is not None for known in store.keys.list())
        secret = asyncio.run(store.keys.create(key))
    print(secret)
    say(f"the key of {key.name}; keep it, it can't be shown again", sys.stderr)
    if first:
        print("a running server without keys asks for keys only after a restart", file=sys.stderr)
    return 0


def list_keys(settings: ListKeys) -> int:
    with closing(Store.open(settings.log_url())) as store:
        keys = store.keys.list()
    if settings.print_json:
        for key in keys:
            say(key.model_dump_json())
    else:
        Console(highlight=False).print(_table(keys))
    return 0


def revoke_key(settings: RevokeKey) -> int:
    with closing(Store.open(settings.log_url())) as store:
        revoked = asyncio.run(store.keys.revoke(settings.name))
    if not revoked:
        raise NotFoundError(f"there is no valid key named {settings.name}")
    say(f"{settings.name} is revoked")
    return 0


COMMANDS = {
    "create": Subcommand(CreateKey, create_key),
    "list": Subcommand(ListKeys, list_keys),
    "revoke": Subcommand(RevokeKey, revoke_key),
}


def _table(keys: list[ApiKey]) -> Table:
    columns = ("key", "created", "log", "may train", "tools", "a minute", "")
    table = Table(*columns, box=None, pad_edge=False)
    for key in keys:
        created = datetime.datetime.fromtimestamp(key.created).strftime("%Y-%m-%d %H:%M")
        state = "revoked" if key.revoked is not None else _powers(key)
        tools = "all" if key.tools is None else ", ".join(key.tools) or "none"
        limit = "no limit" if key.requests_per_minute is None else str(key.requests_per_minute)
        may_train = "yes" if key.may_train else "no"
        table.add_row(*map(Text, (key.name, created, key.log, may_train, tools, limit, state)))
    return table


def _powers(key: ApiKey) -> str:
    """What the key allows beyond reading and changing its own rows."""
    return "admin" if key.admin else "decides" if key.may_decide else ""
