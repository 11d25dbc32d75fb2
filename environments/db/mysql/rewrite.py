"""Making SQLite's tree of MySQL's: each rule turns one kind of node into what means the same."""

from __future__ import annotations

from collections.abc import Callable

import sqlglot
from sqlglot import exp

from agentlm.environments.db.mysql import functions
from agentlm.environments.db.mysql.functions import PREFIX
from agentlm.environments.db.mysql.refusals import MySQLError, is_aggregate, syntax_error
from agentlm.environments.db.mysql.schema import Kind, Schema

_NUMBER_NAMES = {
    *functions.NUMBERS,
    *functions.DEVIATIONS,
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
_ROUNDING = {"ROUND", "TRUNCATE", "FORMAT"}
_UNIT_FIRST = {"TIMESTAMPDIFF", "TIMESTAMPADD"}


def rewritten(statement: exp.Expr, schema: Schema) -> exp.Expr:
    """The statement for SQLite."""
    if isinstance(statement, exp.Update | exp.Insert):
        _assign_texts(statement, schema)
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
            _one_after_another(statement)
            return _limited(statement)
        case exp.Delete():
            return _limited(statement)
    for select in list(statement.find_all(exp.Select)):
        _filter_rows(select)
    return statement


def _assign_texts(change: exp.Update | exp.Insert, schema: Schema) -> None:
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
        shown = exp.Anonymous(this="FORMAT", expressions=[value.copy(), digits])
        signs = [exp.Literal.string(","), exp.Literal.string("")]
        return exp.Anonymous(this="REPLACE", expressions=[shown, *signs])
    if isinstance(value, exp.Literal | exp.Column | exp.Null | exp.Var):
        return value
    return ours("text", value)


def _one_after_another(update: exp.Update) -> None:
    """MySQL assigns from left to right: what was assigned is what the next one reads."""
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


def _limited(change: exp.Update | exp.Delete) -> exp.Expr:
    """UPDATE and DELETE with LIMIT: of the rows that a query picks."""
    limit, order = change.args.get("limit"), change.args.get("order")
    if limit is None:
        change.set("order", None)
        return change
    rows = exp.select("rowid").from_(change.this.copy())
    for name in ("where", "order", "limit"):
        rows.set(name, change.args.get(name) and change.args[name].copy())
    change.set("where", exp.Where(this=exp.column("rowid").isin(query=rows)))
    change.set("limit", None)
    change.set("order", None)
    del order
    return change


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
            exp.Cast: _cast,
            exp.Collate: _collation,
            exp.CurrentDate: lambda node: ours("curdate"),
            exp.CurrentTime: lambda node: ours("curtime"),
            exp.CurrentTimestamp: lambda node: ours("now"),
            exp.CurrentUser: lambda node: ours("user"),
            exp.Localtime: lambda node: ours("now"),
            exp.Escape: _escaped,
            exp.Extract: lambda node: ours("extract", _unit(node.this), node.expression),
            exp.GroupConcat: _group_concat,
            exp.In: self._in,
            exp.IntDiv: lambda node: ours("div", node.this, node.expression),
            exp.Like: _like,
            exp.Mod: lambda node: ours("mod", node.this, node.expression),
            exp.NullSafeEQ: self._null_safe,
            exp.RegexpLike: lambda node: _negated(
                node, ours("regexp_like", node.this, node.expression)
            ),
            exp.StrPosition: lambda node: ours("locate", node.args["substr"], node.this),
            exp.Substring: lambda node: ours(
                "substring", node.this, node.args["start"], *filter(None, [node.args.get("length")])
            ),
            exp.Chr: lambda node: ours("char", *node.expressions),
            exp.Table: self._table,
            exp.Trim: _trim,
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
            return _count_distinct(node, arguments[0])
        if name in _ROUNDING and any(map(self._is_double, node.walk())):
            name = f"{name}_DOUBLE"
        if name == "ANY_VALUE":
            return exp.Anonymous(this="MAX", expressions=arguments)
        if name in functions.NATIVE:
            return node
        if name in _UNIT_FIRST:
            arguments = [_unit(arguments[0]), *arguments[1:]]
        if len(arguments) == 2 and isinstance(arguments[1], exp.Interval):
            amount, unit = _interval(arguments[1])
            arguments = [arguments[0], amount, unit]
        elif name in ("ADDDATE", "SUBDATE"):
            arguments = [*arguments, exp.Literal.string("DAY")]
        return ours(name.lower(), *arguments)

    def _arithmetic(self, node: exp.Binary) -> exp.Expr:
        """Where data is changed, MySQL takes no text for a number that is none."""
        summed = _plus_interval(node) if isinstance(node, exp.Add | exp.Sub) else node
        if summed is node and self._strict:
            for name in ("this", "expression"):
                if self._kind(node.args[name]) == "text":
                    node.set(name, ours("strict_number", node.args[name].copy()))
        return summed

    def _is_double(self, node: exp.Expr) -> bool:
        """Whether numbers of it are doubles: text is, and REAL; the others are decimals."""
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
        """What a value is, as far as can be told before it is there."""
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


def ours(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    """A call of one of our functions."""
    return exp.Anonymous(this=PREFIX + name, expressions=list(arguments))


def in_order(node: exp.Expr) -> exp.Expr:
    """A value that compares as MySQL's texts do, unless it says how it compares."""
    if isinstance(node, exp.Collate):
        return node
    return exp.Collate(
        this=exp.paren(node.copy()) if isinstance(node, exp.Binary) else node.copy(),
        expression=exp.var("mysql"),
    )


def _sides(node: exp.Binary) -> tuple[exp.Expr, exp.Expr]:
    return node.this, node.expression


def _unit(node: exp.Expr) -> exp.Literal:
    return exp.Literal.string(node.name.upper())


def _interval(node: exp.Interval) -> tuple[exp.Expr, exp.Expr]:
    if node.this is None or node.args.get("unit") is None:
        raise syntax_error(node.sql(dialect="mysql"))
    return node.this, _unit(node.args["unit"])


def _plus_interval(node: exp.Binary) -> exp.Expr:
    """A date plus an interval; other sums stay as they are."""
    name = "date_add" if isinstance(node, exp.Add) else "date_sub"
    if isinstance(node.expression, exp.Interval):
        return ours(name, node.this, *_interval(node.expression))
    if isinstance(node.this, exp.Interval):
        return ours(name, node.expression, *_interval(node.this))
    return node


def _cast(node: exp.Cast) -> exp.Expr:
    kind = node.to.this.name
    if kind == "BINARY":
        return exp.Collate(this=node.this, expression=exp.var("BINARY"))
    if kind not in _CASTS:
        raise MySQLError(f"CAST to {kind} is not supported here")
    sizes = [parameter.this for parameter in node.to.expressions]
    if kind not in ("DECIMAL", "CHAR"):
        sizes = []
    return ours(f"cast_{_CASTS[kind]}", node.this, *sizes)


def _collation(node: exp.Collate) -> exp.Expr:
    name = node.expression.name.lower()
    binary = name.endswith("_bin") or name == "binary"
    node.set("expression", exp.var("BINARY" if binary else "mysql"))
    return node


def _negated(node: exp.Expr, call: exp.Expr) -> exp.Expr:
    return exp.paren(exp.not_(call)) if node.args.get("negate") else call


def _like(node: exp.Like) -> exp.Expr:
    return _negated(node, ours("like", node.this, node.expression))


def _escaped(node: exp.Escape) -> exp.Expr:
    """LIKE with a sign of its own; the LIKE was rewritten before it."""
    call = node.find(exp.Anonymous)
    if call is None:
        raise syntax_error(node.sql(dialect="mysql"))
    call.append("expressions", exp.Literal.string(node.expression.name))
    like: exp.Expr = node.this
    return like


def _trim(node: exp.Trim) -> exp.Expr:
    chars = node.expression or exp.Literal.string(" ")
    return ours("trim", node.this, chars, exp.Literal.string(node.args.get("position") or "BOTH"))


def _count_distinct(node: exp.Anonymous, distinct: exp.Distinct) -> exp.Expr:
    """Of several values together; one that is NULL makes the whole NULL."""
    values: list[exp.Expr] = []
    for value in distinct.expressions:
        values += [value, exp.Literal.string("\x1f")]
    one = distinct.expressions[0] if len(values) == 2 else ours("concat", *values)
    distinct.set("expressions", [in_order(one)])
    return node


def _group_concat(node: exp.GroupConcat) -> exp.Expr:
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


def _collate(select: exp.Select) -> None:
    """Groups, order and distinct rows go by MySQL's order of texts too."""
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
