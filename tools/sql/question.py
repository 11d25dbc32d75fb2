"""What the tools ask of a database, and the answer as text for a model."""

from __future__ import annotations

from typing import Literal, Protocol

from sqlalchemy import Connection

from agentlm.messages import Frozen
from agentlm.tools.sql.guard import Guard
from agentlm.tools.sql.text import describe_table, list_tables, result_text

Kind = Literal["tables", "schema", "rows"]

_SAMPLE_ROWS = 3
_PLAINER = {
    "not authorized": "not authorized: this database can only be read: its tables and views, "
    "json_each, json_tree, and the pragmas that describe a table (table_info, index_list, …)",
    "authorization denied": "not authorized: this database can only be read",
    "interrupted": "the statement took too long and was stopped",
    "terminating connection": "the connection was ended while the statement ran; it gave nothing",
}

_SPILLED = {"SQLITE_IOERR_WRITE", "SQLITE_FULL"}
"""A database that is only read is written to only for sorting and grouping."""


class Question(Frozen):
    kind: Kind
    about: str = ""
    """A table's name, or a statement."""
    rows: int = 100
    chars: int = 16_000
    timeout_s: float = 30.0


class Reader(Protocol):
    """Asks one database."""

    async def ask(self, question: Question) -> str:
        """The answer. Raises ToolError with the database's objection."""
        ...

    async def close(self) -> None:
        """Stop what runs and close every connection; idempotent."""
        ...


def answer(question: Question, connection: Connection, guard: Guard) -> str:
    """Ask on a guarded connection."""
    if question.kind == "tables":
        return list_tables(connection)
    if question.kind == "rows":
        result = guard.execute(connection, question.about)
        return result_text(result, question.rows, question.chars)
    name, description = describe_table(connection, question.about)
    quoted = connection.dialect.identifier_preparer.quote(name)
    result = guard.execute(connection, f"SELECT * FROM {quoted}")
    sample = result_text(result, _SAMPLE_ROWS, question.chars)
    return f"{description}\n\nThe first rows:\n{sample}"


def reason(error: Exception) -> str:
    """The driver's message on one line, in plainer words if it is terse."""
    cause = getattr(error, "orig", None) or error
    if getattr(cause, "sqlite_errorname", None) in _SPILLED:
        return "the statement sorts or groups more than there is room for on disk; let it do less"
    text = " ".join(str(cause).split())
    plainer = (plain for terse, plain in _PLAINER.items() if text.startswith(terse))
    return next(plainer, text or type(error).__name__)
