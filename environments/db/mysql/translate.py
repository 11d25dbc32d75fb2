"""One statement of MySQL's as one of SQLite's."""

from __future__ import annotations

import logging
import re

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import ErrorLevel, SqlglotError

from agentlm.environments.db.mysql.refusals import MySQLError, check, check_text, syntax_error
from agentlm.environments.db.mysql.rewrite import rewritten
from agentlm.environments.db.mysql.schema import Schema, UnknownTableError

_REPLACE = re.compile(r"\s*replace\s+(?:into\s+)?", re.I)
_NOTHING = "SELECT 1 WHERE 0"
_WITHOUT_EFFECT = (exp.Use, exp.Set, exp.Transaction, exp.Commit, exp.Rollback)
"""Each statement is committed, and there is one database."""


class _Read(MySQL):
    """MySQL, with the names of functions left as they are."""

    class Parser(MySQL.Parser):  # type: ignore[misc, valid-type]
        FUNCTIONS: dict[str, object] = {}


class _Written(SQLite):
    """SQLite, with names in backticks: one in double quotes that is unknown would be a text."""

    class Tokenizer(SQLite.Tokenizer):
        IDENTIFIERS = ["`"]


def translate(statement: str, schema: Schema) -> str:
    """Raises MySQLError and UnknownTableError for what MySQL refuses."""
    answer = schema.answer(statement)
    if answer is not None:
        return answer
    parsed = _parsed(statement)
    if isinstance(parsed, _WITHOUT_EFFECT):
        return _NOTHING
    try:
        check(parsed, schema)
        return rewritten(parsed, schema).sql(dialect=_Written, unsupported_level=ErrorLevel.IGNORE)
    except (MySQLError, UnknownTableError):
        raise
    except Exception as error:
        # The parser accepts statements that lack a part, and any rule may be the first to miss it.
        raise syntax_error(statement) from error


def _parsed(statement: str) -> exp.Expr:
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    replaces = _REPLACE.match(statement)
    if replaces:
        statement = f"INSERT INTO {statement[replaces.end() :]}"
    try:
        check_text(statement)
        statements = [part for part in _Read().parse(statement) if part is not None]
    except SqlglotError as error:
        context = getattr(error, "errors", None) or [{}]
        near = f"{context[0].get('highlight') or ''}{context[0].get('end_context') or ''}"
        raise syntax_error(near or statement) from error
    except RecursionError as error:
        raise syntax_error(statement) from error
    if len(statements) != 1:
        raise syntax_error(statements[1].sql(dialect="mysql") if statements else "")
    if isinstance(statements[0], exp.Command):
        raise syntax_error(statement)
    if replaces:
        statements[0].set("alternative", "REPLACE")
    return statements[0]


__all__ = ["MySQLError", "translate"]
