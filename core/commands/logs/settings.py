"""The flags of `agentlm logs COMMAND`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_settings import CliPositionalArg, CliToggleFlag, SettingsConfigDict

from agentlm.exchange import FormatName
from agentlm.settings import Settings
from agentlm.store import Conditions, Selection

FilePath = Annotated[Path, AfterValidator(Path.expanduser)]


class ConditionSettings(Settings, Conditions):
    """Which trajectories, as flags."""

    def selection(self, *, may_train_only: bool = False, **more: Any) -> Selection:
        """The same conditions in the store's form."""
        return Selection(**self.conditions(), may_train_only=may_train_only, **more)


class ListLogs(ConditionSettings):
    """List trajectories, newest first."""

    model_config = SettingsConfigDict(cli_shortcuts={"print-json": "json", "limit": "n"})

    limit: int = Field(default=20, ge=1)
    """How many trajectories to list."""
    after: str | None = None
    """Go on after this trajectory."""
    print_json: CliToggleFlag[bool] = False
    """Print one JSON object a line instead of a table."""


class ShowLog(Settings):
    """Show a trajectory as a timeline of thoughts, calls, observations, tokens and seconds.

    agentlm logs show traj_0123
    agentlm logs show chatcmpl-0123 --full
    """

    model_config = SettingsConfigDict(cli_shortcuts={"print-json": "json"})

    id: CliPositionalArg[str]
    """A trajectory, or a completion that is a part of one; its beginning is enough."""
    full: CliToggleFlag[bool] = False
    """Print long texts whole."""
    print_json: CliToggleFlag[bool] = False
    """Print the whole record as JSON."""


class TailLogs(Settings):
    """Print the newest steps of all trajectories, one a line."""

    model_config = SettingsConfigDict(cli_shortcuts={"lines": "n", "follow": "f"})

    lines: int = Field(default=20, ge=1)
    """How many steps to begin with."""
    follow: CliToggleFlag[bool] = False
    """Go on as steps are written, until interrupted."""


class AuditLogs(Settings):
    """List the calls of the server's tools, newest first: which, whose, how it ended, how long.

    It holds no text, so it is kept for every request and stays when the trajectory is deleted.
    """

    model_config = SettingsConfigDict(cli_shortcuts={"print-json": "json", "limit": "n"})

    owner: str | None = None
    """Only those of this API key's owner."""
    limit: int = Field(default=20, ge=1)
    """How many calls to list."""
    after: int | None = None
    """Go on after the call with this number."""
    print_json: CliToggleFlag[bool] = False
    """Print one JSON object a line instead of a table."""


class LogStats(ConditionSettings):
    """Count trajectories, tokens, outcomes and rewards."""

    model_config = SettingsConfigDict(cli_shortcuts={"print-json": "json"})

    print_json: CliToggleFlag[bool] = False
    """Print JSON instead of a table."""


class ExportLogs(ConditionSettings):
    """Write trajectories for other programs, one JSON object a line, oldest first.

    agentlm logs export --min-reward 1 --format agentinstruct --output good.jsonl

    jsonl is the record itself with token ids; the other formats are text.
    """

    format: FormatName = "jsonl"
    """Format of the output."""
    output: FilePath | None = None
    """File to write, which is there whole or not at all; the default is standard output."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many trajectories."""
    per_task: int | None = Field(default=None, ge=1)
    """At most this many of each task, the first ones; trajectories without a task are not
    limited."""
    sometimes_solved: CliToggleFlag[bool] = False
    """Only those of tasks that were tried both with success (--min-reward, else 1) and without."""
    may_train_only: bool = True
    """Leave out those that their owner's key does not allow to be trained on."""


class ImportLogs(Settings):
    """Read trajectories that other programs wrote; reading a file again adds nothing.

    agentlm logs import agentinstruct.jsonl --format agentinstruct --reward 1
    """

    files: CliPositionalArg[list[FilePath]]
    """Files of one JSON object a line."""
    format: FormatName = "jsonl"
    """Format of the files."""
    owner: str | None = None
    """Owner of the trajectories; by default the record's own (jsonl), else the local one."""
    model: str | None = None
    """The model that wrote them, if the format does not tell."""
    environment: str | None = None
    """The environment that they come from."""
    reward: float | None = Field(default=None, ge=0, le=1)
    """Reward of every trajectory: without one nothing trains an agent."""


class DeleteLogs(Settings):
    """Delete trajectories with all that hangs on them. Forks of them stay.

    Models that were trained on them are named: nothing takes a row out of weights again.
    """

    ids: CliPositionalArg[list[str]]
    """Ids, as the list shows them; the beginning of one is enough."""
