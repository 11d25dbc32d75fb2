"""The `mcpServers` file that MCP programs share:

    {"mcpServers": {"files": {"command": "npx", "args": ["server-files", "/srv"]},
                    "wiki": {"url": "https://wiki.example/mcp",
                             "headers": {"Authorization": "Bearer ${WIKI_TOKEN}"}}}}

`${NAME}` is replaced from the server's environment, so that the file need not contain secrets.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agentlm.errors import OperatorError

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


class McpServer(BaseModel):
    """One server: a command to start, or an address. Other keys of the file are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    """Its environment, in addition to PATH, HOME and LANG."""
    cwd: Path | None = None
    url: str | None = None
    """Streamable HTTP."""
    headers: dict[str, str] = {}
    disabled: bool = Field(default=False)

    @model_validator(mode="after")
    def _one_way_in(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either a command or a url")
        return self


def load_servers(path: Path) -> dict[str, McpServer]:
    """The servers in a file, by name. Raises OperatorError with what is wrong with it."""
    try:
        entries = json.loads(path.read_text())["mcpServers"]
        servers = {
            name: McpServer.model_validate(_expanded(server, os.environ))
            for name, server in entries.items()
        }
    except OSError as error:
        raise OperatorError(f"mcp_config: {path}: {error.strerror}") from error
    except ValidationError as error:
        reason = "; ".join(str(problem["msg"]) for problem in error.errors())
        raise OperatorError(f"mcp_config: {path}: {reason}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise OperatorError(f"mcp_config: {path} has no valid `mcpServers`: {error}") from error
    if wrong := [name for name in servers if not _NAME.fullmatch(name) or "__" in name]:
        raise OperatorError(f"mcp_config: {path}: {wrong[0]!r} can't be part of a tool's name")
    return {name: server for name, server in servers.items() if not server.disabled}


def _expanded(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _variable(match.group(1), environment), value)
    if isinstance(value, list):
        return [_expanded(item, environment) for item in value]
    if isinstance(value, dict):
        return {key: _expanded(item, environment) for key, item in value.items()}
    return value


def _variable(name: str, environment: Mapping[str, str]) -> str:
    if name not in environment:
        raise ValueError(f"the variable {name} is not set")
    return environment[name]
