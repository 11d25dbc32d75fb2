"""The shell tool: commands for the client's own machine, or for our sandbox.

With a local environment, the model and the log see a function of the client's; with a container, it
is our bash. On this wire its calls and outputs have their own types of items in both cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from agentlm.messages import ToolCall
from agentlm.server.openai.tools import WireFunction, WireTool
from agentlm.server.openai.wire import Items, Wire

SHELL = "shell"
"""The type of the tool, and the name of its function in the prompt."""
_FUNCTION = WireFunction(
    name=SHELL,
    description="Run shell commands on the user's machine and get what they print.",
    parameters={
        "type": "object",
        "properties": {
            "commands": {"type": "array", "items": {"type": "string"}},
            "timeout_ms": {"type": "integer"},
        },
        "required": ["commands"],
        "additionalProperties": False,
    },
)


class ShellAction(Wire):
    """What to run."""

    commands: Annotated[Items[str], Field(min_length=1)]
    timeout_ms: int | None = None
    max_output_length: int | None = None


class ShellCall(Wire):
    """A call in a client's history."""

    call_id: str = Field(min_length=1)
    action: ShellAction

    def read(self) -> ToolCall:
        """The call as the model wrote it."""
        arguments = json.dumps(self.action.model_dump(exclude_none=True), ensure_ascii=False)
        return ToolCall(id=self.call_id, name=SHELL, arguments=arguments)


class Exit(Wire):
    """A command's exit code."""

    type: Literal["exit"]
    exit_code: int


class Timeout(Wire):
    """A command that ran out of time."""

    type: Literal["timeout"]


class CommandOutput(Wire):
    """The output of one command."""

    stdout: str
    stderr: str
    outcome: Annotated[Exit | Timeout, Field(discriminator="type")]

    def read(self) -> str:
        """The text for the model."""
        if isinstance(self.outcome, Timeout):
            ended = "(it was stopped: its time was over)"
        else:
            ended = f"(exit code {self.outcome.exit_code})" if self.outcome.exit_code else ""
        return "\n".join(part.rstrip("\n") for part in (self.stdout, self.stderr, ended) if part)


class ShellOutput(Wire):
    """The output of a call."""

    call_id: str = Field(min_length=1)
    output: Items[CommandOutput]

    def read(self) -> str:
        """The text for the model."""
        return "\n".join(output.read() for output in self.output) or "(no output)"


class Local(Wire):
    """The client's machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["local"] = "local"


class NoNetwork(Wire):
    """The network policy of our sandbox."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["disabled"]


class Container(Wire):
    """The conversation's sandbox."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["container_auto"]
    file_ids: Annotated[Items[str], Field(max_length=1024)] | None = None
    network_policy: NoNetwork | None = None


class ShellTool(Wire):
    """The tool in a request's list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["shell"]
    environment: Annotated[Local | Container, Field(discriminator="type")] = Local()

    def as_chat(self) -> WireTool:
        if isinstance(self.environment, Container):
            return WireTool(type="bash", file_ids=self.environment.file_ids)
        return WireTool(type="function", function=_FUNCTION)


def is_local(tool: Mapping[str, Any]) -> bool:
    """Whether a tool in an answer's list is the shell of the client's machine."""
    return bool(tool["type"] == SHELL and tool["environment"]["type"] == "local")


def in_container(tools: Sequence[Mapping[str, Any]]) -> bool:
    """Whether bash is the request's shell, by the tools in the answer's list."""
    return any(tool["type"] == SHELL and not is_local(tool) for tool in tools)


def shell_item(
    identity: str, call: ToolCall, status: str = "completed", *, local: bool = True
) -> dict[str, Any]:
    """A call."""
    try:
        arguments = call.parsed()
    except (ValueError, RecursionError):
        arguments = {}
    commands = arguments.get("commands", [arguments.get("command", "")])
    limit = arguments.get("timeout_ms")
    return {
        "id": identity,
        "type": "shell_call",
        "call_id": call.id,
        "action": {
            "commands": [str(each) for each in commands] if isinstance(commands, list) else [],
            "timeout_ms": limit if isinstance(limit, int) else None,
            "max_output_length": None,
        },
        "environment": {"type": "local"} if local else None,
        "status": status,
    }


def output_item(identity: str, call: ToolCall, text: str, *, failed: bool) -> dict[str, Any]:
    """The output of a call in our sandbox, where bash returns it as one text."""
    outcome = {"type": "exit", "exit_code": 1 if failed else 0}
    return {
        "id": identity,
        "type": "shell_call_output",
        "call_id": call.id,
        "output": [{"stdout": text, "stderr": "", "outcome": outcome}],
        "max_output_length": None,
        "status": "completed",
    }
