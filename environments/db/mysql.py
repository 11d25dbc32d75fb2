"""MySQL's ways on SQLite: enough of them that statements written for MySQL mean the same.

A statement is parsed as MySQL and written as SQLite. On the way, what SQLite would read otherwise
is rewritten: text columns compared with a number compare as numbers, `SHOW TABLES` and `DESCRIBE`
read the schema. What the parser does not understand goes to SQLite unchanged, which says what is
wrong.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

_NUMBER_PREFIX = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_DESCRIBE = re.compile(
    r"\s*(?:describe|desc|show\s+(?:full\s+)?columns\s+(?:from|in))\s+(\S.*)", re.I
)
_SHOW_TABLES = re.compile(r"\s*show\s+tables\b", re.I)
_DATA = re.compile(r"\s*(?:select|with|insert|update|delete|\()", re.I)
_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ)


def translate(statement: str) -> str:
    """One MySQL statement as SQLite."""
    if _SHOW_TABLES.match(statement):
        return "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    if described := _DESCRIBE.match(statement):
        table = described[1].strip().rstrip(";").strip().strip("`\"'")
        return f"SELECT name, type FROM pragma_table_info({_literal(table)})"
    if not _DATA.match(statement):
        return statement
    try:
        parsed = [part for part in sqlglot.parse(statement, read="mysql") if part is not None]
        if len(parsed) != 1 or isinstance(parsed[0], exp.Command):
            return statement
        rewritten = parsed[0].transform(_rewrite)
        return rewritten.sql(dialect="sqlite", unsupported_level=ErrorLevel.IGNORE)
    except (SqlglotError, RecursionError):
        return statement


def add_functions(connection: sqlite3.Connection) -> None:
    """The functions of MySQL that models reach for and SQLite lacks."""
    functions: list[tuple[str, int, Callable[..., Any]]] = [
        ("as_number", 1, as_number),
        ("concat", -1, _concat),
        ("year", 1, lambda date: _date_part(date, 0)),
        ("month", 1, lambda date: _date_part(date, 1)),
        ("day", 1, lambda date: _date_part(date, 2)),
        ("regexp", 2, _regexp),
    ]
    for name, arguments, function in functions:
        connection.create_function(name, arguments, function, deterministic=True)


def as_number(value: object) -> float | int | None:
    """MySQL's reading of a value as a number: the longest numeric beginning, else 0."""
    if value is None or isinstance(value, int | float):
        return value
    found = _NUMBER_PREFIX.match(str(value))
    if not found:
        return 0
    number = float(found[0])
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _rewrite(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Left):  # a keyword in SQLite, whatever stands after it
        return exp.Substring(this=node.this, start=exp.Literal.number(1), length=node.expression)
    if isinstance(node, exp.Right):
        return exp.Substring(this=node.this, start=exp.Neg(this=node.expression))
    _compare_as_numbers(node)
    return node


def _compare_as_numbers(node: exp.Expression) -> None:
    if isinstance(node.parent, exp.Update) and node.arg_key == "expressions":
        return  # SET column = value is no comparison
    if isinstance(node, _COMPARISONS):
        if _is_number(node.expression) and isinstance(node.this, exp.Column):
            node.set("this", exp.func("as_number", node.this.copy()))
        elif _is_number(node.this) and isinstance(node.expression, exp.Column):
            node.set("expression", exp.func("as_number", node.expression.copy()))
    elif (
        isinstance(node, exp.Between)
        and isinstance(node.this, exp.Column)
        and _is_number(node.args["low"])
        and _is_number(node.args["high"])
    ):
        node.set("this", exp.func("as_number", node.this.copy()))


def _is_number(node: object) -> bool:
    if isinstance(node, exp.Neg):
        node = node.this
    return isinstance(node, exp.Literal) and not node.is_string


def _concat(*values: object) -> str | None:
    return None if any(value is None for value in values) else "".join(map(str, values))


def _date_part(date: object, index: int) -> int | None:
    parts = re.match(r"(\d{4})-(\d{1,2})-(\d{1,2})", str(date))
    return int(parts[index + 1]) if parts else None


def _regexp(pattern: str, text: object) -> bool | None:
    return None if text is None else re.search(pattern, str(text), re.I) is not None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
