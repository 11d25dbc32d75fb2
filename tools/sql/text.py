"""Tables and rows as text for a model."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Inspector, inspect

from agentlm.agent.tool import ToolError
from agentlm.printable import printable
from agentlm.tools.sql.guard import Result

_CELL_CHARS = 500
_TABLES_SHOWN = 200


def list_tables(connection: Connection) -> str:
    """Each table and view with its columns, one a line."""
    inspector = inspect(connection)
    names = _names(inspector)
    lines = [
        f"{name}({', '.join(column['name'] for column in inspector.get_columns(name))})"
        for name in names[:_TABLES_SHOWN]
    ]
    if len(names) > _TABLES_SHOWN:
        lines.append(f"({len(names) - _TABLES_SHOWN} more tables)")
    return "\n".join(lines) or "(no tables)"


def describe_table(connection: Connection, wanted: str) -> tuple[str, str]:
    """A table's exact name and its description. Raises ToolError if there is none like it."""
    inspector = inspect(connection)
    names = _names(inspector)
    name = next((name for name in names if name.lower() == wanted.lower()), None)
    if name is None:
        known = ", ".join(names[:_TABLES_SHOWN])
        raise ToolError(f"there is no table {wanted!r}; the tables are: {known}")
    return name, "\n".join([name, *_column_lines(inspector, name)])


def result_text(result: Result, limit_rows: int, limit_chars: int) -> str:
    """Column names, then rows while they fit, then how many there are."""
    lines = [" | ".join(result.columns)]
    chars = 0
    for row in result.rows:
        line = " | ".join(_cell(value) for value in row)
        chars += len(line)
        if len(lines) > limit_rows or chars > limit_chars:
            return "\n".join([*lines, f"(only the first {len(lines) - 1} rows; there are more)"])
        lines.append(line)
    count = len(lines) - 1
    return "\n".join([*lines, f"({count} row{'' if count == 1 else 's'})"])


def _names(inspector: Inspector) -> list[str]:
    return sorted(inspector.get_table_names() + inspector.get_view_names())


def _column_lines(inspector: Inspector, table: str) -> list[str]:
    keys = inspector.get_pk_constraint(table)["constrained_columns"]
    references = {
        column: f"{key['referred_table']}({referred})"
        for key in inspector.get_foreign_keys(table)
        for column, referred in zip(
            key["constrained_columns"], key["referred_columns"], strict=True
        )
    }
    return [
        " ".join(
            [
                f"  {column['name']} {column['type']}",
                *(["PRIMARY KEY"] if column["name"] in keys else []),
                *([] if column["nullable"] else ["NOT NULL"]),
                *([f"-> {references[column['name']]}"] if column["name"] in references else []),
            ]
        )
        for column in inspector.get_columns(table)
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value)} bytes of binary data)"
    text = printable(str(value).replace("\r", "\\r").replace("\n", "\\n"))
    return text if len(text) <= _CELL_CHARS else f"{text[:_CELL_CHARS]}… ({len(text)} characters)"
