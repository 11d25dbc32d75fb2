"""Nodes of MySQL's tree that become calls of our functions."""

from __future__ import annotations

from sqlglot import exp

from agentlm.environments.db.mysql.functions import PREFIX
from agentlm.environments.db.mysql.refusals import MySQLError, syntax_error

_CASTS = {
    "BIGINT": "signed",
    "UBIGINT": "unsigned",
    "UINT": "unsigned",
    "DECIMAL": "decimal",
    "CHAR": "char",
    "NCHAR": "char",
    "CHARACTER_SET": "char",
    "DATE": "date",
    "TIME": "time",
    "DATETIME": "datetime",
    "TIMESTAMP": "datetime",
    "DOUBLE": "double",
    "FLOAT": "double",
}


def ours(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    """A call of one of our functions."""
    return exp.Anonymous(this=PREFIX + name, expressions=list(arguments))


def in_order(node: exp.Expr) -> exp.Expr:
    """The value with MySQL's collation, unless it names one itself."""
    if isinstance(node, exp.Collate):
        return node
    return exp.Collate(
        this=exp.paren(node.copy()) if isinstance(node, exp.Binary) else node.copy(),
        expression=exp.var("mysql"),
    )


def unit(node: exp.Expr) -> exp.Literal:
    """A unit of time in the form that our functions take."""
    return exp.Literal.string(node.name.upper())


def interval(node: exp.Interval) -> tuple[exp.Expr, exp.Expr]:
    """The amount and the unit."""
    if node.this is None or node.args.get("unit") is None:
        raise syntax_error(node.sql(dialect="mysql"))
    return node.this, unit(node.args["unit"])


def plus_interval(node: exp.Binary) -> exp.Expr:
    """A date plus an interval; other sums stay as they are."""
    name = "date_add" if isinstance(node, exp.Add) else "date_sub"
    if isinstance(node.expression, exp.Interval):
        return ours(name, node.this, *interval(node.expression))
    if isinstance(node.this, exp.Interval):
        return ours(name, node.expression, *interval(node.this))
    return node


def cast(node: exp.Cast) -> exp.Expr:
    """CAST and CONVERT. Raises MySQLError for a type that is not offered."""
    kind = node.to.this.name
    if kind == "BINARY":
        return exp.Collate(this=node.this, expression=exp.var("BINARY"))
    if kind not in _CASTS:
        raise MySQLError(f"CAST to {kind} is not supported here")
    sizes = [parameter.this for parameter in node.to.expressions]
    if kind not in ("DECIMAL", "CHAR"):
        sizes = []
    return ours(f"cast_{_CASTS[kind]}", node.this, *sizes)


def collation(node: exp.Collate) -> exp.Expr:
    """A binary collation, or the one that stands for all others."""
    name = node.expression.name.lower()
    binary = name.endswith("_bin") or name == "binary"
    node.set("expression", exp.var("BINARY" if binary else "mysql"))
    return node


def negated(node: exp.Expr, call: exp.Expr) -> exp.Expr:
    """The call in place of the node, which may say NOT."""
    return exp.paren(exp.not_(call)) if node.args.get("negate") else call


def like(node: exp.Like) -> exp.Expr:
    """LIKE and NOT LIKE."""
    return negated(node, ours("like", node.this, node.expression))


def escaped(node: exp.Escape) -> exp.Expr:
    """LIKE with an escape character of its own; the LIKE in it was rewritten before."""
    call = node.find(exp.Anonymous)
    if call is None:
        raise syntax_error(node.sql(dialect="mysql"))
    call.append("expressions", exp.Literal.string(node.expression.name))
    like: exp.Expr = node.this
    return like


def trim(node: exp.Trim) -> exp.Expr:
    """TRIM, of one end or both."""
    chars = node.expression or exp.Literal.string(" ")
    return ours("trim", node.this, chars, exp.Literal.string(node.args.get("position") or "BOTH"))


def count_distinct(node: exp.Anonymous, distinct: exp.Distinct) -> exp.Expr:
    """Several values count as one; if any of them is NULL, the whole is NULL."""
    values: list[exp.Expr] = []
    for value in distinct.expressions:
        values += [value, exp.Literal.string("\x1f")]
    one = distinct.expressions[0] if len(values) == 2 else ours("concat", *values)
    distinct.set("expressions", [in_order(one)])
    return node


def group_concat(node: exp.GroupConcat) -> exp.Expr:
    """GROUP_CONCAT with its order and separator."""
    inner, order = node.this, []
    if isinstance(inner, exp.Order):
        for ordered in inner.expressions:
            order += [exp.Literal.number(int(bool(ordered.args.get("desc")))), ordered.this]
        inner = inner.this
    distinct = isinstance(inner, exp.Distinct)
    values = inner.expressions if distinct else [inner]
    value = values[0] if len(values) == 1 else ours("concat", *values)
    separator = node.args.get("separator") or exp.Literal.string(",")
    flag = exp.Literal.number(int(distinct))
    return ours("group_concat", value, separator, flag, *order)
