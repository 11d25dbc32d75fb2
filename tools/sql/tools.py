"""The sql tools: what tables there are, what one looks like, and one statement that reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from agentlm.agent import Tool, ToolContext
from agentlm.messages import Frozen
from agentlm.tools.sample_database import sample_database
from agentlm.tools.settings import ToolSettings
from agentlm.tools.sql.database import Database, Guard
from agentlm.tools.sql.postgres import PostgresGuard
from agentlm.tools.sql.sqlite import SqliteGuard
from agentlm.tools.sql.text import describe_table, list_tables, result_text
from agentlm.tools.sql.trusted import TrustedGuard

_SAMPLE_ROWS = 3


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
class _Reading:
    """What the three tools share. Nothing is kept for a trajectory."""

    database: Database
    settings: ToolSettings

    async def release(self, trajectory_id: str) -> None:
        """Nothing to drop."""

    async def close(self) -> None:
        """Close every connection; idempotent."""
        await self.database.close()


class SqlTables(_Reading):
    """List the tables and views of the database, with their columns."""

    name = "sql_tables"
    Args: type[BaseModel] = TablesArgs

    async def run(self, args: TablesArgs, context: ToolContext) -> str:
        """One line for each."""
        return await self.database.read(list_tables)


class SqlSchema(_Reading):
    """Describe one table or view: columns, types, keys, and a few sample rows."""

    name = "sql_schema"
    Args: type[BaseModel] = SchemaArgs

    async def run(self, args: SchemaArgs, context: ToolContext) -> str:
        """Columns and keys as the database reports them, then the first rows."""

        def describe(connection: Connection) -> str:
            name, description = describe_table(connection, args.table)
            quoted = connection.dialect.identifier_preparer.quote(name)
            sample = _rows(self, f"SELECT * FROM {quoted}", _SAMPLE_ROWS)(connection)
            return f"{description}\n\nThe first rows:\n{sample}"

        return await self.database.read(describe)


class Sql(_Reading):
    """Run one SQL statement on the database and get its rows. The database can only be read."""

    name = "sql"
    Args: type[BaseModel] = SqlArgs

    async def run(self, args: SqlArgs, context: ToolContext) -> str:
        """Rows within the limits; the database's own words if it refuses."""
        return await self.database.read(_rows(self, args.statement, self.settings.sql_rows))


async def open_sql(settings: ToolSettings) -> tuple[Tool, ...]:
    """The three tools on the operator's database, or on the sample one."""
    url = settings.sql_url or f"sqlite:///{sample_database(settings.data_dir)}"
    guards: dict[str, Guard] = {
        "sqlite": SqliteGuard(),
        "postgresql": PostgresGuard(),
        "*": TrustedGuard(trusted=settings.sql_trust_role),
    }
    database = await Database.open(url, guards, settings.tool_timeout_s)
    return SqlTables(database, settings), SqlSchema(database, settings), Sql(database, settings)


def _rows(tool: _Reading, statement: str, limit_rows: int) -> Callable[[Connection], str]:
    def select(connection: Connection) -> str:
        result = tool.database.guard.execute(connection, statement)
        return result_text(result, limit_rows, tool.settings.tool_output_chars)

    return select
