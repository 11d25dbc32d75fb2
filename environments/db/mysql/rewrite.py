"""From MySQL's syntax tree to SQLite's: each rule turns one kind of node into its equivalent."""

from __future__ import annotations

from collections.abc import Callable

import sqlglot
from sqlglot import exp

from agentlm.environments.db.mysql import calls, changes, functions
from agentlm.environments.db.mysql.aggregates import DEVIATIONS
from agentlm.environments.db.mysql.calls import in_order, ours
from agentlm.environments.db.mysql.functions import PREFIX
from agentlm.environments.db.mysql.refusals import is_aggregate
from agentlm.environments.db.mysql.schema import Kind, Schema

_NUMBER_NAMES = {
    *functions.NUMBERS,
    *DEVIATIONS,
    "COUNT",
    "SUM",
    "AVG",
    "STRICT_COMPARE",
    "STRICT_NUMBER",
}
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Neg)
_LOGIC = (exp.Predicate, exp.Not, exp.And, exp.Or, exp.Boolean)
_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
}
_ROUNDING = {"ROUND", "TRUNCATE", "FORMAT"}
_UNIT_FIRST = {"TIMESTAMPDIFF", "TIMESTAMPADD"}


def rewritten(statement: exp.Expr, schema: Schema) -> exp.Expr:
    """The statement for SQLite."""
    if isinstance(statement, exp.Update | exp.Insert):
        changes.assign_texts(statement, schema)
    statement = _Rules(schema, strict=isinstance(statement, exp.Update | exp.Delete)).apply(
        _statement(statement)
    )
    for select in list(statement.find_all(exp.Select)):
        _collate(select)
    for union in list(statement.find_all(exp.SetOperation)):
        _collate_order(union)
    return statement


def _statement(statement: exp.Expr) -> exp.Expr:
    match statement:
        case exp.TruncateTable():
            return exp.delete(statement.expressions[0])
        case exp.Update():
            changes.one_after_another(statement)
            return changes.limited(statement)
        case exp.Delete():
            return changes.limited(statement)
    for select in list(statement.find_all(exp.Select)):
        _filter_rows(select)
    return statement


def _filter_rows(select: exp.Select) -> None:
    """HAVING without groups filters rows, by the names of the SELECT list."""
    having = select.args.get("having")
    if having is None or select.args.get("group") or any(map(is_aggregate, select.walk())):
        return
    named = {e.alias.lower(): e.this for e in select.expressions if isinstance(e, exp.Alias)}
    condition = having.this.transform(
        lambda node: (
            exp.paren(named[node.name.lower()].copy())
            if isinstance(node, exp.Column) and not node.table and node.name.lower() in named
            else node
        )
    )
    select.set("having", None)
    select.where(condition, copy=False)


class _Rules:
    """One rule for each kind of node, the inner nodes first."""

    def __init__(self, schema: Schema, *, strict: bool) -> None:
        self._schema = schema
        self._strict = strict
        self._compare = "strict_compare" if strict else "compare"
        self._aliases: set[str] = set()
        self._rules: dict[type[exp.Expr], Callable[..., exp.Expr]] = {
            exp.Anonymous: self._function,
            **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div), self._arithmetic),
            exp.Between: self._between,
            exp.Case: self._case,
            exp.Cast: calls.cast,
            exp.Collate: calls.collation,
            exp.CurrentDate: lambda node: ours("curdate"),
            exp.CurrentTime: lambda node: ours("curtime"),
            exp.CurrentTimestamp: lambda node: ours("now"),
            exp.CurrentUser: lambda node: ours("user"),
            exp.Localtime: lambda node: ours("now"),
            exp.Escape: calls.escaped,
            exp.Extract: lambda node: ours("extract", calls.unit(node.this), node.expression),
            exp.GroupConcat: calls.group_concat,
            exp.In: self._in,
            exp.IntDiv: lambda node: ours("div", node.this, node.expression),
            exp.Like: calls.like,
            exp.Mod: lambda node: ours("mod", node.this, node.expression),
            exp.NullSafeEQ: self._null_safe,
            exp.RegexpLike: lambda node: calls.negated(
                node, ours("regexp_like", node.this, node.expression)
            ),
            exp.StrPosition: lambda node: ours("locate", node.args["substr"], node.this),
            exp.Substring: lambda node: ours(
                "substring", node.this, node.args["start"], *filter(None, [node.args.get("length")])
            ),
            exp.Chr: lambda node: ours("char", *node.expressions),
            exp.Table: self._table,
            exp.Trim: calls.trim,
            exp.Xor: lambda node: ours("xor", node.this, node.expression),
            **dict.fromkeys(_OPERATORS, self._comparison),
        }

    def apply(self, statement: exp.Expr) -> exp.Expr:
        """Apply the rules to a whole statement."""
        self._aliases = {node.alias.lower() for node in statement.find_all(exp.Alias)}
        for node in reversed(list(statement.walk())):
            rule = self._rules.get(type(node))
            if rule is None:
                continue
            new = rule(node)
            if new is node:
                continue
            if node is statement:
                return new
            node.replace(new)
        return statement

    def _function(self, node: exp.Anonymous) -> exp.Expr:
        name, arguments = node.name.upper(), list[exp.Expr](node.expressions)
        if name.startswith(PREFIX.upper()):
            return node
        if name == "COALESCE" and len(arguments) == 1:
            return arguments[0]
        if name == "COUNT" and isinstance(arguments[0], exp.Distinct):
            return calls.count_distinct(node, arguments[0])
        if name in _ROUNDING and any(map(self._is_double, node.walk())):
            name = f"{name}_DOUBLE"
        if name == "ANY_VALUE":
            return exp.Anonymous(this="MAX", expressions=arguments)
        if name in functions.NATIVE:
            return node
        if name in _UNIT_FIRST:
            arguments = [calls.unit(arguments[0]), *arguments[1:]]
        if len(arguments) == 2 and isinstance(arguments[1], exp.Interval):
            amount, unit = calls.interval(arguments[1])
            arguments = [arguments[0], amount, unit]
        elif name in ("ADDDATE", "SUBDATE"):
            arguments = [*arguments, exp.Literal.string("DAY")]
        return ours(name.lower(), *arguments)

    def _arithmetic(self, node: exp.Binary) -> exp.Expr:
        """Where data is changed, MySQL does not compute with a text that is no number."""
        summed = calls.plus_interval(node) if isinstance(node, exp.Add | exp.Sub) else node
        if summed is node and self._strict:
            for name in ("this", "expression"):
                if self._kind(node.args[name]) == "text":
                    node.set(name, ours("strict_number", node.args[name].copy()))
        return summed

    def _is_double(self, node: exp.Expr) -> bool:
        """Whether its numbers are doubles: those of text and REAL are, others are decimals."""
        if isinstance(node, exp.Literal):
            return node.is_string
        return isinstance(node, exp.Column) and node.name.lower() not in self._schema.exact

    def _comparison(self, node: exp.Binary) -> exp.Expr:
        if isinstance(node.parent, exp.Update) and node.arg_key == "expressions":
            return node  # SET column = value is no comparison
        if any(isinstance(side, exp.Tuple | exp.All | exp.Any) for side in _sides(node)):
            return node
        kinds = [self._kind(side) for side in _sides(node)]
        if kinds == ["number", "number"]:
            return node
        if any(isinstance(side, exp.Collate) for side in _sides(node)):
            return node
        if kinds == ["text", "text"]:
            node.set("this", in_order(node.this))
            return node
        compared = ours(self._compare, node.this.copy(), node.expression.copy())
        return exp.paren(type(node)(this=compared, expression=exp.Literal.number(0)), copy=False)

    def _between(self, node: exp.Between) -> exp.Expr:
        low = self._comparison(exp.GTE(this=node.this.copy(), expression=node.args["low"]))
        high = self._comparison(exp.LTE(this=node.this.copy(), expression=node.args["high"]))
        return exp.paren(exp.and_(low, high, copy=False), copy=False)

    def _in(self, node: exp.In) -> exp.Expr:
        query = node.args.get("query")
        if query is not None:
            kinds = (self._kind(node.this), self._kind(query))
            if kinds[0] == "text" and kinds[1] == "number":
                node.set("this", ours("number", node.this.copy()))
            elif kinds[0] != "number" and not isinstance(node.this, exp.Tuple):
                node.set("this", in_order(node.this))
            return node
        if isinstance(node.this, exp.Tuple):
            return node
        equal = [
            self._comparison(exp.EQ(this=node.this.copy(), expression=value.copy()))
            for value in node.expressions
        ]
        return exp.paren(exp.or_(*equal, copy=False), copy=False)

    def _case(self, node: exp.Case) -> exp.Expr:
        if node.this is None:
            return node
        for branch in node.args["ifs"]:
            equal = exp.EQ(this=node.this.copy(), expression=branch.this.copy())
            branch.set("this", self._comparison(equal))
        node.set("this", None)
        return node

    def _null_safe(self, node: exp.NullSafeEQ) -> exp.Expr:
        a, b = node.this, node.expression
        both = exp.and_(a.is_(exp.null()), b.is_(exp.null()))
        same = self._comparison(exp.EQ(this=a.copy(), expression=b.copy()))
        return exp.paren(exp.or_(exp.func("COALESCE", same, exp.Literal.number(0)), both))

    def _table(self, node: exp.Table) -> exp.Expr:
        if node.db.lower() != "information_schema":
            node.set("db", None)
            return node
        query = self._schema.view(node.name) or ""
        rows = exp.Subquery(this=sqlglot.parse_one(query, read="sqlite"))
        return exp.alias_(rows, node.alias or node.name, table=True)

    def _kind(self, node: exp.Expr | None) -> Kind | None:
        """The kind of a value, as far as it is known before the statement runs."""
        match node:
            case exp.Paren() | exp.Collate() | exp.Alias():
                return self._kind(node.this)
            case exp.Literal():
                return "text" if node.is_string else "number"
            case exp.Column():
                name = node.name.lower()
                return None if name in self._aliases else self._schema.kinds.get(name)
            case exp.Subquery() | exp.Select():
                selected = node.selects
                return self._kind(selected[0]) if len(selected) == 1 else None
            case exp.Anonymous():
                return self._kind_of_call(node)
        return "number" if isinstance(node, (*_ARITHMETIC, *_LOGIC)) else None

    def _kind_of_call(self, node: exp.Anonymous) -> Kind | None:
        name = node.name.upper().removeprefix(PREFIX.upper())
        if name in _NUMBER_NAMES or name in functions.WINDOWS - {"LAG", "LEAD"}:
            return "number" if not name.endswith("_VALUE") else None
        if name in functions.TEXTS or name == "GROUP_CONCAT":
            return "text"
        if name in ("MIN", "MAX") and len(node.expressions) == 1:
            return self._kind(node.expressions[0])
        return None


def _sides(node: exp.Binary) -> tuple[exp.Expr, exp.Expr]:
    return node.this, node.expression


def _collate(select: exp.Select) -> None:
    """GROUP BY, ORDER BY and DISTINCT also use MySQL's order of texts."""
    group = select.args.get("group")
    if group:
        group.set("expressions", [_by_text(e) for e in group.expressions])
    if select.args.get("distinct"):
        for expression in select.expressions:
            if isinstance(expression.unalias(), exp.Anonymous | exp.Case):
                name = expression.alias or expression.unalias().sql(dialect="mysql")
                expression.replace(exp.alias_(in_order(expression.unalias()), name, quoted=True))
    _collate_order(select)


def _collate_order(query: exp.Query) -> None:
    orders = [query.args.get("order")]
    if isinstance(query, exp.Select):
        orders += [window.args.get("order") for window in query.find_all(exp.Window)]
    for order in filter(None, orders):
        for ordered in order.expressions:
            ordered.set("this", _by_text(ordered.this))


def _by_text(node: exp.Expr) -> exp.Expr:
    return node if isinstance(node, exp.Literal | exp.Collate) else in_order(node)
