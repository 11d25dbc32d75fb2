"""Refusals of what SQLite or the parser would accept, and MySQL does not."""

from __future__ import annotations

from collections.abc import Iterator

import sqlglot
from sqlglot import TokenType, exp

from agentlm.environments.db.mysql import dates, functions
from agentlm.environments.db.mysql.aggregates import DEVIATIONS
from agentlm.environments.db.mysql.schema import Schema, UnknownTableError

_FOREIGN_TOKENS = {
    *(TokenType.DCOLON, TokenType.L_BRACKET, TokenType.ILIKE, TokenType.GLOB),
    *(TokenType.PRAGMA, TokenType.QUALIFY, TokenType.SIMILAR_TO, TokenType.RETURNING),
}
_BEFORE_TABLES = {
    *(TokenType.FROM, TokenType.JOIN, TokenType.INTO, TokenType.UPDATE, TokenType.TABLE),
    TokenType.DESCRIBE,
}
_HIDDEN = {"rowid", "_rowid_", "oid"}
"""Columns that only SQLite has."""
_ENDS = {TokenType.COMMA, TokenType.FROM, TokenType.WHERE, TokenType.R_PAREN}
_WITHOUT_ARGUMENTS = {
    *("NOW", "SYSDATE", "CURDATE", "CURTIME", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"),
    *("LOCALTIME", "LOCALTIMESTAMP", "UTC_DATE", "UTC_TIME", "UTC_TIMESTAMP", "UNIX_TIMESTAMP"),
    *("PI", "RAND", "UUID", "DATABASE", "SCHEMA", "VERSION", "USER", "CURRENT_USER"),
    *("SESSION_USER", "SYSTEM_USER", *functions.WINDOWS),
}
_WITH_FROM = {"EXTRACT", "TRIM", "SUBSTRING", "SUBSTR", "MID"}
"""Functions in which FROM names no table."""
_CAST_TYPES = {"INT", "TEXT", "VARCHAR", "BOOLEAN", "SMALLINT", "TINYINT", "MEDIUMINT"}
_STATEMENTS = (
    *(exp.Select, exp.SetOperation, exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop),
    *(exp.Alter, exp.TruncateTable, exp.Subquery),
)


class MySQLError(Exception):
    """The statement is refused; in MySQL's words."""


def syntax_error(near: str) -> MySQLError:
    """The parser's complaint."""
    return MySQLError(
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL "
        f"server version for the right syntax to use near '{near[:80]}'"
    )


def check_text(statement: str) -> None:
    """Refuse other databases' signs (`::`, `[a]`, ILIKE) and a text in place of a table's name."""
    before = None
    opened: list[bool] = []
    for token in sqlglot.tokenize(statement, read="mysql"):
        foreign = token.token_type in _FOREIGN_TOKENS
        named = before is not None and before.token_type in _BEFORE_TABLES
        in_call = bool(opened) and opened[-1]
        doubled = before is not None and before.token_type == TokenType.COMMA
        text_as_table = named and not in_call and token.token_type == TokenType.STRING
        if foreign or text_as_table or (doubled and token.token_type in _ENDS):
            raise syntax_error(statement[token.start :])
        if token.token_type == TokenType.L_PAREN:
            opened.append(before is not None and before.text.upper() in _WITH_FROM)
        elif token.token_type == TokenType.R_PAREN and opened:
            opened.pop()
        before = token


def check(statement: exp.Expr, schema: Schema) -> None:
    """Refuse what the parser accepts although it is not MySQL. Raises MySQLError."""
    if not isinstance(statement, _STATEMENTS):
        raise syntax_error(statement.sql(dialect="mysql"))
    for node in statement.walk():
        _check_node(node, schema)
    _check_tables(statement, schema)
    _check_target(statement)


def _check_node(node: exp.Expr, schema: Schema) -> None:
    match node:
        case exp.Anonymous():
            _check_function(node)
        case exp.Cast() if node.to.this.name in _CAST_TYPES:
            raise syntax_error(node.to.sql(dialect="mysql"))
        case exp.Join() if node.side == "FULL":
            raise syntax_error("FULL JOIN")
        case exp.Ordered() if node.args.get("nulls_first") is False and not node.args.get("desc"):
            raise syntax_error("NULLS LAST")
        case exp.Select():
            _check_where(node, schema)
            _check_grouping(node, schema)
        case exp.Distinct() if node.args.get("on"):
            raise syntax_error("ON")
        case exp.OnConflict() if not node.args.get("duplicate"):
            raise syntax_error("ON CONFLICT")
        case exp.Filter() | exp.Fetch():
            raise syntax_error(node.key.upper())
        case exp.Limit() | exp.Offset() if isinstance(node.expression, exp.Neg):
            raise syntax_error(node.expression.sql(dialect="mysql"))
        case exp.Extract() if node.this.name.upper() not in dates.PARTS:
            raise syntax_error(node.this.name)
        case exp.Column() if node.name.lower() in _HIDDEN and node.name.lower() not in schema.kinds:
            raise MySQLError(f"Unknown column '{node.name}' in 'field list'")


def _check_function(node: exp.Anonymous) -> None:
    name = node.name.upper()
    known = {*functions.NATIVE, *DEVIATIONS, "ANY_VALUE", "IF", "VALUES"}
    offered = (known, functions.NUMBERS, functions.TEXTS, functions.OTHERS)
    if not any(name in names for names in offered) or name in _OURS:
        raise MySQLError(f"FUNCTION {functions.DATABASE}.{node.name} does not exist")
    if not node.expressions and name not in _WITHOUT_ARGUMENTS:
        raise MySQLError(f"Incorrect parameter count in the call to native function '{node.name}'")
    if name in functions.AGGREGATES and len(node.expressions) != 1:
        raise syntax_error(node.sql(dialect="mysql"))


_OURS = {"LIKE", "COMPARE", "TEXT", "DIV", "XOR", "NUMBER", "EXTRACT"} | {
    name for kinds in (functions.NUMBERS, functions.TEXTS) for name in kinds if "CAST_" in name
}
"""Names of ours that are no functions of MySQL's."""


def _check_tables(statement: exp.Expr, schema: Schema) -> None:
    """The case of a table's name matters, as on AgentBench's machines."""
    made = {exp.Create, exp.Drop} & {type(statement)}
    common = {cte.alias for cte in statement.find_all(exp.CTE)}
    for table in statement.find_all(exp.Table):
        database = table.db.lower()
        if made or not table.name or (not database and table.name in common):
            continue
        if database == "information_schema":
            if schema.view(table.name) is None:
                raise MySQLError(f"Unknown table '{table.name}' in information_schema")
        elif database and table.db != functions.DATABASE:
            raise MySQLError(f"Unknown database '{table.db}'")
        elif table.name not in schema.tables:
            raise UnknownTableError(table.name)


def _check_target(statement: exp.Expr) -> None:
    """MySQL refuses a subquery that reads the table that is changed."""
    if not isinstance(statement, exp.Update | exp.Delete):
        return
    target = statement.this.name
    for select in statement.find_all(exp.Select):
        source = select.args.get("from_")
        if source and isinstance(source.this, exp.Table) and source.this.name == target:
            raise MySQLError(f"You can't specify target table '{target}' for update in FROM clause")


def _check_where(select: exp.Select, schema: Schema) -> None:
    """An alias of the SELECT list is unknown in WHERE."""
    where = select.args.get("where")
    if where is None:
        return
    aliases = {e.alias.lower() for e in select.expressions if isinstance(e, exp.Alias)}
    for column in where.find_all(exp.Column):
        name = column.name.lower()
        own = column.find_ancestor(exp.Select) is select
        known = name not in aliases or name in schema.kinds or column.table
        if own and not known and not _is_derived(select):
            raise MySQLError(f"Unknown column '{column.name}' in 'where clause'")


def _is_derived(select: exp.Select) -> bool:
    """Whether it reads from other queries, whose columns we don't know."""
    sources = [select.args.get("from_"), *select.args.get("joins", ())]
    tables = [source.this for source in sources if source]
    common = {cte.alias for cte in select.root().find_all(exp.CTE)}
    return any(not isinstance(t, exp.Table) or t.db or t.name in common for t in tables)


def _check_grouping(select: exp.Select, schema: Schema) -> None:
    """ONLY_FULL_GROUP_BY: beside an aggregate, a column needs one value per group."""
    group = select.args.get("group")
    aggregated = any(_own(select, node) for node in select.find_all(exp.Anonymous))
    if not (group or aggregated) or (select.args.get("distinct") and not aggregated):
        return
    settled = set(_settled(select, group))
    if settled & schema.keys:
        return  # a key decides all columns of its row
    order = select.args.get("order")
    for number, expression in enumerate(
        (*select.expressions, *(order.expressions if order else ())), 1
    ):
        loose = _loose(expression, settled, select)
        if loose is not None:
            raise MySQLError(
                f"Expression #{number} of SELECT list is not in GROUP BY clause and contains "
                f"nonaggregated column '{loose}' which is not functionally dependent on columns in "
                "GROUP BY clause; this is incompatible with sql_mode=only_full_group_by"
            )


def _own(select: exp.Select, node: exp.Expr) -> bool:
    """Whether this is an aggregate of that query, not of a window or of another query."""
    if not is_aggregate(node) or node.find_ancestor(exp.Select) is not select:
        return False
    return not isinstance(node.parent, exp.Window)


def is_aggregate(node: exp.Expr) -> bool:
    """Whether it makes one value from many rows."""
    if isinstance(node, exp.GroupConcat):
        return True
    names = {*functions.AGGREGATES, *DEVIATIONS, "ANY_VALUE"}
    return isinstance(node, exp.Anonymous) and node.name.upper() in names


def _settled(select: exp.Select, group: exp.Expr | None) -> Iterator[str]:
    """Expressions with one value per group: grouped by, or equal to a constant."""
    aliases = {e.alias.lower(): e.this for e in select.expressions if isinstance(e, exp.Alias)}
    for expression in group.expressions if group else ():
        if isinstance(expression, exp.Literal) and expression.is_int:
            index = int(expression.name) - 1
            if 0 <= index < len(select.expressions):
                yield _text(select.expressions[index].unalias())
            continue
        yield _text(expression)
        if isinstance(expression, exp.Column):
            yield expression.name.lower()
            if not expression.table and expression.name.lower() in aliases:
                yield _text(aliases[expression.name.lower()])
    where = select.args.get("where")
    for equal in where.find_all(exp.EQ) if where else ():
        if isinstance(equal.this, exp.Column) and isinstance(equal.expression, exp.Literal):
            yield equal.this.name.lower()


def _loose(node: exp.Expr, settled: set[str], select: exp.Select) -> str | None:
    """The first column without a single value for each group."""
    if _text(node) in settled or is_aggregate(node) or isinstance(node, exp.Subquery | exp.Window):
        return None
    if isinstance(node, exp.Star):
        return "*"
    if isinstance(node, exp.Column):
        name = node.name.lower()
        aliases = {e.alias.lower() for e in select.expressions if isinstance(e, exp.Alias)}
        ordered = node.find_ancestor(exp.Ordered) is not None and name in aliases
        return None if name in settled or ordered else node.name
    names = (_loose(child, settled, select) for child in node.iter_expressions())
    return next((name for name in names if name is not None), None)


def _text(node: exp.Expr) -> str:
    return node.sql(dialect="mysql").lower().replace("`", "")
