"""Settings shared by every command: where data is, and how flags, environment and file combine.

A command's settings are one frozen class: each field is a flag (`--data-dir`), an environment
variable (`AGENTLM_DATA_DIR`) and a key of the `--config` file; its docstring is its help.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from agentlm.errors import OperatorError


def default_data_dir() -> Path:
    """Where the log, the models and the sandboxes live if nothing else is said."""
    return Path.home() / ".local" / "share" / "agentlm"


class Settings(BaseSettings):
    """What every command understands."""

    model_config = SettingsConfigDict(
        env_prefix="AGENTLM_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    data_dir: Path = Field(default_factory=default_data_dir)
    """Directory of the log, the models and the sandboxes."""
    store_url: str | None = None
    """SQLAlchemy URL of the log; the default is SQLite in the data directory."""

    def log_url(self) -> str:
        """The store's URL, SQLite in the data directory unless one was given."""
        return self.store_url or f"sqlite:///{self.data_dir / 'agentlm.db'}"

    def prepare_data_dir(self) -> Path:
        """Create the data directory. Raises OperatorError if it can't be written."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            probe = self.data_dir / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OperatorError(
                f"the data directory {self.data_dir} can't be written: {error.strerror or error}"
            ) from error
        return self.data_dir
