"""How a question and the schema that it is about are put together."""

from __future__ import annotations

from random import Random

from agentlm.environments.db.schema import Table
from agentlm.environments.db.templates import (
    PACKAGE,
    Identifier,
    Slots,
    Value,
    Word,
    as_prose,
    in_words,
    literal,
)
from agentlm.environments.phrases import phrasebook
from agentlm.environments.task import Split

_NAME_QUOTES = ("", "", "", "", "", '"', '"', "'", "`", "`")
_VALUE_QUOTES = ("", "", "", "", "", "", '"', '"', "'")
_QUESTION_FIRST = 0.75


class Statement:
    """One way of putting a task: the quotes around names and values, and the order."""

    def __init__(self, split: Split, random: Random) -> None:
        self._split = split
        self._random = random
        self._names = random.choice(_NAME_QUOTES)
        self._values = random.choice(_VALUE_QUOTES)

    def text(self, phrasing: str, slots: Slots, tables: tuple[Table, ...], hidden: bool) -> str:
        """The question and the schema."""
        question = in_words(phrasing, slots, self._names, self._values)
        schema = self._hidden(slots) if hidden else self._schema(slots, tables)
        parts = [question, schema]
        if self._random.random() > _QUESTION_FIRST:
            parts.reverse()
        return "\n".join(parts)

    def _hidden(self, slots: Slots) -> str:
        return in_words(self._one_of("hidden"), slots, self._names)

    def _schema(self, slots: Slots, tables: tuple[Table, ...]) -> str:
        schemas = [self._table(table) for table in tables]
        if len(schemas) == 1:
            return schemas[0]
        first, second = schemas
        link = in_words(self._one_of("link"), slots, self._names)
        return self._one_of("two_tables").format(first=first, second=second, link=link)

    def _table(self, table: Table) -> str:
        slots: dict[str, Value] = {
            "table": table.name,
            "rows": Word(table.rows_word),
            "row": Word(table.row),
            "count": len(table.columns),
            "columns": Word(self._one_of("joints").join(map(self._name, table.columns_named))),
            "typed": Word(", ".join(self._each(table, self._one_of("typed")))),
            "lines": Word("\n".join(self._each(table, self._one_of("bullets")))),
            "sql_table": Word(literal(table.name)),
            "create": Word(
                ", ".join(f"{literal(column.name)} {column.type}" for column in table.columns)
            ),
        }
        return in_words(self._one_of("schema"), slots, self._names)

    def _each(self, table: Table, form: str) -> list[str]:
        return [
            form.format(name=self._name(column.name), type=column.type, number=number)
            for number, column in enumerate(table.columns, 1)
        ]

    def _name(self, name: Identifier) -> str:
        return as_prose(name, self._names)

    def _one_of(self, fragment: str) -> str:
        return self._random.choice(phrasebook(PACKAGE).alternatives(fragment, self._split))
