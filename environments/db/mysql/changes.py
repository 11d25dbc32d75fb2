"""INSERT, UPDATE and DELETE as MySQL does them."""

from __future__ import annotations

from sqlglot import exp

from agentlm.environments.db.mysql.calls import ours
from agentlm.environments.db.mysql.schema import Schema


def assign_texts(change: exp.Update | exp.Insert, schema: Schema) -> None:
    """A number becomes a text as MySQL writes it: 12.50 keeps its digits, 25.0 is 25."""
    if isinstance(change, exp.Update):
        for assignment in change.expressions:
            if schema.kinds.get(assignment.this.name.lower()) != "number":
                assignment.set("expression", _as_text(assignment.expression))
        return
    table, rows = change.this, change.expression
    if isinstance(table, exp.Schema):
        names = [column.name for column in table.expressions]
    else:
        names = [column.name for column in schema.columns(table.name)]
    texts = [schema.kinds.get(name.lower()) != "number" for name in names]
    for row in rows.expressions if isinstance(rows, exp.Values) else ():
        values = list(row.expressions)
        for index, text in enumerate(texts[: len(values)]):
            values[index] = _as_text(values[index]) if text else values[index]
        row.set("expressions", values)


def _as_text(value: exp.Expr) -> exp.Expr:
    number = value.this if isinstance(value, exp.Neg) else value
    if isinstance(number, exp.Literal) and not number.is_string and "." in number.name:
        sign = "-" if isinstance(value, exp.Neg) else ""
        whole, _, places = number.name.partition(".")
        if places.isdigit():
            return exp.Literal.string(f"{sign}{whole or 0}.{places}")
    if isinstance(value, exp.Cast) and value.to.this.name == "DECIMAL":
        sizes = value.to.expressions
        digits = sizes[1].this.copy() if len(sizes) > 1 else exp.Literal.number(0)
        formatted = exp.Anonymous(this="FORMAT", expressions=[value.copy(), digits])
        signs = [exp.Literal.string(","), exp.Literal.string("")]
        return exp.Anonymous(this="REPLACE", expressions=[formatted, *signs])
    if isinstance(value, exp.Literal | exp.Column | exp.Null | exp.Var):
        return value
    return ours("text", value)


def one_after_another(update: exp.Update) -> None:
    """MySQL assigns from left to right: an assignment reads what earlier ones have set."""
    done: dict[str, exp.Expr] = {}
    for assignment in update.expressions:
        assignment.this.set("table", None)
        value = assignment.expression.transform(
            lambda node: (
                exp.paren(done[node.name.lower()].copy())
                if isinstance(node, exp.Column) and node.name.lower() in done
                else node
            )
        )
        assignment.set("expression", value)
        done[assignment.this.name.lower()] = value


def limited(change: exp.Update | exp.Delete) -> exp.Expr:
    """UPDATE and DELETE with LIMIT act on the rows that a query picks."""
    limit = change.args.get("limit")
    if limit is None:
        change.set("order", None)
        return change
    rows = exp.select("rowid").from_(change.this.copy())
    for name in ("where", "order", "limit"):
        rows.set(name, change.args.get(name) and change.args[name].copy())
    change.set("where", exp.Where(this=exp.column("rowid").isin(query=rows)))
    change.set("limit", None)
    change.set("order", None)
    return change
