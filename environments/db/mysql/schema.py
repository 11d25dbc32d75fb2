"""What a database holds, and MySQL's ways of asking for it."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from functools import cached_property

from agentlm.environments.db.mysql.functions import DATABASE

Kind = str
"""`number` or `text`."""

_NAME = r"(?:`((?:[^`]|``)+)`|([\w$]+))(?:\s*\.\s*(?:`((?:[^`]|``)+)`|([\w$]+)))?"
_LIKE = r"(?:\s+(?:from|in)\s+\S+)?(?:\s+like\s+'([^']*)')?\s*;?\s*$"
_TABLES = re.compile(r"\s*show\s+(full\s+)?tables" + _LIKE, re.I)
_COLUMNS = re.compile(
    r"\s*(?:(?:describe|desc|explain)\s+|show\s+(?:full\s+)?(?:columns|fields)\s+(?:from|in)\s+)"
    + _NAME
    + _LIKE,
    re.I,
)
_CREATE = re.compile(r"\s*show\s+create\s+table\s+" + _NAME + r"\s*;?\s*$", re.I)
_INDEXES = re.compile(r"\s*show\s+(?:index|indexes|keys)\s+(?:from|in)\s+" + _NAME, re.I)
_DATABASES = re.compile(r"\s*show\s+(?:databases|schemas)" + _LIKE, re.I)
_TYPES = {"TEXT": "text", "INTEGER": "int", "INT": "int", "REAL": "double"}


class UnknownTableError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"Table '{DATABASE}.{name}' doesn't exist")


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    declared: str
    is_required: bool
    default: str | None
    is_key: bool

    @property
    def type(self) -> str:
        """As MySQL names it."""
        return _TYPES.get(self.declared.upper(), self.declared.lower())

    @property
    def kind(self) -> Kind:
        """The kind as which it is compared."""
        numeric = ("int", "double", "decimal", "numeric", "float", "real")
        return "number" if self.type.startswith(numeric) else "text"


@dataclass(frozen=True)
class Schema:
    """Tables and their columns."""

    tables: dict[str, tuple[Column, ...]]

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> Schema:
        """The schema as it is now."""
        query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
        tables = {}
        for (table,) in connection.execute(query).fetchall():
            rows = connection.execute(
                'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', (table,)
            )
            tables[table] = tuple(
                Column(name, kind, bool(required), default, bool(key))
                for name, kind, required, default, key in rows
            )
        return cls(tables)

    @cached_property
    def kinds(self) -> dict[str, Kind | None]:
        """Column, in lower case → its kind; None where tables differ."""
        kinds: dict[str, Kind | None] = {}
        for column in (column for columns in self.tables.values() for column in columns):
            name = column.name.lower()
            kinds[name] = column.kind if kinds.get(name, column.kind) == column.kind else None
        return kinds

    @cached_property
    def exact(self) -> frozenset[str]:
        """Columns of whole numbers, in lower case."""
        columns = (column for columns in self.tables.values() for column in columns)
        return frozenset(column.name.lower() for column in columns if column.type == "int")

    @cached_property
    def keys(self) -> frozenset[str]:
        """Columns that are a primary key, in lower case."""
        columns = (column for columns in self.tables.values() for column in columns)
        return frozenset(column.name.lower() for column in columns if column.is_key)

    def columns(self, table: str) -> tuple[Column, ...]:
        """Of a table by its exact name. Raises UnknownTableError."""
        if table not in self.tables:
            raise UnknownTableError(table)
        return self.tables[table]

    def answer(self, statement: str) -> str | None:
        """SQL for SQLite that answers SHOW and DESCRIBE; None for other statements."""
        if found := _TABLES.match(statement):
            more = ", 'BASE TABLE'" if found[1] else ""
            return _rows([f"({literal(t)}{more})" for t in self.tables], found[2])
        if found := _COLUMNS.match(statement):
            rows = [_described(column) for column in self.columns(_named(found))]
            return _rows(rows, found[5])
        if found := _CREATE.match(statement):
            name = _named(found)
            return f"SELECT {literal(name)}, {literal(self._created(name))}"
        if found := _INDEXES.match(statement):
            self.columns(_named(found))
            return "SELECT 1 WHERE 0"
        if found := _DATABASES.match(statement):
            return _rows([f"('{DATABASE}')", "('information_schema')"], found[1])
        return None

    def _created(self, table: str) -> str:
        lines = [
            f"  {quoted(c.name)} {c.type}" + (" NOT NULL" if c.is_required else _default(c))
            for c in self.columns(table)
        ]
        keys = [quoted(column.name) for column in self.columns(table) if column.is_key]
        if keys:
            lines.append(f"  PRIMARY KEY ({','.join(keys)})")
        body = ",\n".join(lines)
        return f"CREATE TABLE {quoted(table)} (\n{body}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"

    def view(self, name: str) -> str | None:
        """A view of information_schema as a query for SQLite; None if it is not offered."""
        match name.lower():
            case "schemata":
                return f"SELECT 'def' AS CATALOG_NAME, '{DATABASE}' AS SCHEMA_NAME"
            case "tables":
                rows = [f"{literal(table)}" for table in self.tables]
                names = " UNION ALL ".join(f"SELECT {row} AS TABLE_NAME" for row in rows)
                return (
                    f"SELECT 'def' AS TABLE_CATALOG, '{DATABASE}' AS TABLE_SCHEMA, TABLE_NAME, "
                    f"'BASE TABLE' AS TABLE_TYPE, 'InnoDB' AS ENGINE FROM ({names})"
                )
            case "columns":
                return " UNION ALL ".join(
                    _catalogued(table, position, column)
                    for table, columns in self.tables.items()
                    for position, column in enumerate(columns, 1)
                )
        return None


def literal(text: str) -> str:
    """A text as a literal of SQLite."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """An identifier as MySQL and SQLite both read it."""
    return "`" + name.replace("`", "``") + "`"


def _named(match: re.Match[str]) -> str:
    """The table of `table` or `database.table`."""
    first, last = match[1] or match[2], match[3] or match[4]
    return (last or first).replace("``", "`")


def _default(column: Column) -> str:
    return f" DEFAULT {column.default}" if column.default else ""


def _described(column: Column) -> str:
    default = "NULL" if column.default is None else literal(column.default)
    parts = [column.name, column.type, "NO" if column.is_required else "YES"]
    parts.append("PRI" if column.is_key else "")
    return f"({', '.join(map(literal, parts))}, {default}, '')"


def _catalogued(table: str, position: int, column: Column) -> str:
    values = {
        "TABLE_SCHEMA": literal(DATABASE),
        "TABLE_NAME": literal(table),
        "COLUMN_NAME": literal(column.name),
        "ORDINAL_POSITION": str(position),
        "COLUMN_DEFAULT": "NULL" if column.default is None else literal(column.default),
        "IS_NULLABLE": literal("NO" if column.is_required else "YES"),
        "DATA_TYPE": literal(column.type.partition("(")[0]),
        "COLUMN_TYPE": literal(column.type),
        "COLUMN_KEY": literal("PRI" if column.is_key else ""),
        "EXTRA": "''",
    }
    return "SELECT " + ", ".join(f"{value} AS {name}" for name, value in values.items())


def _rows(rows: list[str], like: str | None) -> str:
    if not rows:
        return "SELECT 1 WHERE 0"
    kept = "" if like is None else f" WHERE my_like(column1, {literal(like)})"
    return f"SELECT * FROM (VALUES {', '.join(rows)}){kept}"
