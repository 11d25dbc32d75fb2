"""The sql tools: what tables there are, what one looks like, and one statement that reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from agentlm.agent.tool import Hints, Tool, ToolContext
from agentlm.errors import OperatorError
from agentlm.messages import Frozen
from agentlm.tools.settings import ToolSettings
from agentlm.tools.sql.database import Database
from agentlm.tools.sql.postgres import PostgresGuard
from agentlm.tools.sql.question import Kind, Question, Reader
from agentlm.tools.sql.sample_database import sample_database
from agentlm.tools.sql.sqlite_reader import SqliteReader
from agentlm.tools.sql.trusted import TrustedGuard


class TablesArgs(Frozen):
    """`sql_tables` takes no arguments."""


class SchemaArgs(Frozen):
    """Arguments of `sql_schema`."""

    table: str = Field(min_length=1, max_length=200)
    """Name of a table or view."""


class SqlArgs(Frozen):
    """Arguments of `sql`."""

    statement: str = Field(min_length=1, max_length=20_000)
    """One SQL statement that reads."""


@dataclass(frozen=True)
class _Asking:
    """What the three tools share. Nothing is kept for a trajectory."""

    hints: ClassVar[Hints] = Hints(read_only=True, open_world=False)

    reader: Reader
    settings: ToolSettings

    async def ask(self, kind: Kind, about: str = "") -> str:
        """Ask within the settings' limits."""
        settings = self.settings
        question = Question(
            kind=kind,
            about=about,
            rows=settings.sql_rows,
            chars=settings.tool_output_chars,
            timeout_s=settings.tool_timeout_s,
        )
        return await self.reader.ask(question)

    async def release(self, trajectory_id: str) -> None:
        """Nothing is kept for a trajectory."""

    async def close(self) -> None:
        """Close every connection; idempotent."""
        await self.reader.close()


class SqlTables(_Asking):
    """List the tables and views of the database, with their columns."""

    name = "sql_tables"
    Args: type[BaseModel] = TablesArgs

    async def run(self, args: TablesArgs, context: ToolContext) -> str:
        """One line for each."""
        return await self.ask("tables")


class SqlSchema(_Asking):
    """Describe one table or view: columns, types, keys, and a few sample rows."""

    name = "sql_schema"
    Args: type[BaseModel] = SchemaArgs

    async def run(self, args: SchemaArgs, context: ToolContext) -> str:
        """Columns and keys as the database reports them, then the first rows."""
        return await self.ask("schema", args.table)


class Sql(_Asking):
    """Run one SQL statement on the database and get its rows. The database can only be read."""

    name = "sql"
    Args: type[BaseModel] = SqlArgs

    async def run(self, args: SqlArgs, context: ToolContext) -> str:
        """Rows within the limits; the database's own words if it refuses."""
        return await self.ask("rows", args.statement)


async def open_sql(settings: ToolSettings) -> tuple[Tool, ...]:
    """The three tools on the operator's database, or on the sample one. Raises OperatorError."""
    url = settings.sql_url or f"sqlite:///{sample_database(settings.data_dir)}"
    try:
        reader = await open_reader(make_url(url), trusted=settings.sql_trust_role)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise OperatorError(f"sql_url can't be used: {error}") from error
    return SqlTables(reader, settings), SqlSchema(reader, settings), Sql(reader, settings)


async def open_reader(url: URL, *, trusted: bool) -> Reader:
    """What asks this kind of database."""
    match url.get_backend_name():
        case "sqlite":
            return await SqliteReader.open(url)
        case "postgresql":
            return await Database.open(url, PostgresGuard(trusted=trusted))
        case _:
            return await Database.open(url, TrustedGuard(trusted=trusted))
