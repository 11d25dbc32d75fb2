"""Invented names: identifiers in a call that stand nowhere in what the player was told.

It was told the messages before its first turn, the descriptions of the tools, and what it has
observed since. Its own words don't count: a name that it thought of first is still invented.

Which words of a call are names depends on the tool:

* `sql`: tables and columns; not aliases and what the statement creates, nor the server's own tables
  (`information_schema`). Of a statement that can't be parsed: what stands in backquotes;
* `bash`: paths and file names; not those that the command makes (after `>`, by `mkdir`, `touch` …),
  nor the system's own (`/etc`, `/usr`, `/dev` …), patterns and programs (of `grep`, `sed`, `awk`);
* `act`: the things and places of a household, which have a number (`mug 2`);
* `search`, `step`, `type`: none, words are free;
* any other: each text that is an argument, as of the knowledge graph's functions; not variables
  (`#0`). A relation that is known forwards is known backwards (`^`). The graph's relations and
  attributes are the same few for every question, and may be learnt: one that the graph accepted was
  not invented.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable, Iterator
from itertools import groupby

from agentlm.messages import ToolCall

_BACKQUOTED = re.compile(r"`([^`]+)`")
_THING = re.compile(r"[a-z]+ \d+")
_PATH = re.compile(r"[\w.~/+@%-]*/[\w.~/+@%-]*|[\w+@%-][\w.+@%-]*\.[A-Za-z]\w{0,4}")
_SYSTEM = re.compile(r"/(?:bin|boot|dev|etc|lib\w*|proc|run|sbin|sys|usr)(?:/|$)")
_VOCABULARY = ("relation", "attribute")
"""Arguments that name what the graph is built of."""
_SEPARATOR = re.compile(r"[();|&\n]+")
_PLACES = frozenset(
    ("", ".", "..", "~", "home", "root", "var", "opt", "srv", "tmp", "mnt", "log", "lib", "spool")
)
"""Directories that every system has; names in them may still be invented."""
_MAKERS = frozenset(("mkdir", "touch", "tee", "mktemp", "cp", "mv", "ln", "install"))
_WITH_PROGRAM = frozenset(
    (
        "grep",
        "egrep",
        "fgrep",
        "sed",
        "awk",
        "gawk",
        "tr",
        "echo",
        "printf",
        "cut",
        "date",
        "python3",
    )
)
"""Commands whose first argument is a pattern, a program or a text."""


def invented_names(call: ToolCall, context: str, *, failed: bool) -> tuple[str, ...]:
    """The names in a call that stand nowhere in `context`, in order; `failed`: the call did."""
    try:
        arguments = call.parsed()
    except ValueError:
        return ()
    match call.name:
        case "sql":
            names = _sql_names(str(arguments.get("query", "")))
        case "bash":
            names = _shell_names(str(arguments.get("command", "")))
        case "act":
            names = _THING.findall(str(arguments.get("command", "")).lower())
        case "search" | "step" | "type":
            names = []
        case _:
            names = [
                text.lstrip("^")
                for argument, text in arguments.items()
                if isinstance(text, str) and (failed or argument not in _VOCABULARY)
            ]
    known = context.casefold()
    return tuple(dict.fromkeys(name for name in names if not _stands_in(name, known)))


def _stands_in(name: str, known: str) -> bool:
    """Whether it is there as a word of its own; numbers and variables are no names."""
    bare = name.strip().casefold()
    if not re.search(r"[^\W\d]", bare) or re.fullmatch(r"#\d+", bare):
        return True
    return re.search(rf"(?<!\w){re.escape(bare)}(?!\w)", known) is not None


def _sql_names(statement: str) -> list[str]:
    import sqlglot  # slow to import, and needed by one family
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    # The operator's screen need not show what a player writes.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        tree = sqlglot.parse_one(statement, read="mysql")
    except (SqlglotError, RecursionError):
        return _BACKQUOTED.findall(statement)
    statements = (exp.Query, exp.DML, exp.DDL, exp.Drop, exp.Alter, exp.Describe)
    if not isinstance(tree, statements):
        return _BACKQUOTED.findall(statement)
    tables = list(tree.find_all(exp.Table))
    if any(table.db.casefold() == "information_schema" for table in tables):
        return []
    columns = list(tree.find_all(exp.Column))
    listed = [
        name.name
        for schema in tree.find_all(exp.Schema)
        for name in schema.expressions
        if isinstance(name, exp.Identifier)
    ]
    own = {alias.alias.casefold() for alias in tree.find_all(exp.Alias, exp.CTE, exp.TableAlias)}
    own |= {alias.name.casefold() for alias in tree.find_all(exp.TableAlias)}
    if isinstance(tree, exp.Create):
        own |= {table.name.casefold() for table in tree.this.find_all(exp.Table)}
    used = [
        *(table.name for table in tables),
        *(column.table for column in columns),
        *(column.name for column in columns),
        *listed,
    ]
    return [name for name in used if name and name != "*" and name.casefold() not in own]


def _shell_names(command: str) -> list[str]:
    made: set[str] = set()
    names: list[str] = []
    for words in _simple_commands(command):
        read, written = _paths(words)
        names += [part for path in read for part in _parts(path) if part not in made]
        made |= {part for path in written for part in _parts(path)}
    return names


def _simple_commands(command: str) -> Iterator[list[str]]:
    """The words between `|`, `;`, `&&` and the like; a redirection stays with its command."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split = " \t\r", True
    try:
        words = list(lexer)
    except ValueError:
        words = command.split()  # a quotation mark without its partner
    for separated, group in groupby(
        words, key=lambda word: bool(re.fullmatch(r"[();|&\n]+", word))
    ):
        if not separated:
            yield list(group)


def _paths(words: list[str]) -> tuple[list[str], list[str]]:
    """The paths that a simple command reads, and those that it makes."""
    arguments, read, written = list[str](), list[str](), list[str]()
    redirected: list[str] | None = None
    for word in words:
        if re.fullmatch(r"[<>&]+", word):
            redirected = written if ">" in word else read
        elif redirected is not None:
            redirected.append(word)
            redirected = None
        elif not word.startswith("-"):
            arguments.append(word)
    program, *rest = arguments or [""]
    if program in _WITH_PROGRAM:
        rest = rest[1:]
    if program in _MAKERS:
        cut = len(rest) - 1 if program in ("cp", "mv", "ln", "install") else 0
        rest, made = rest[:cut], rest[cut:]
        written += made
    return [*([program] if "/" in program else []), *rest, *read], written


def _parts(path: str) -> Iterable[str]:
    """The names in a path, if it is one and not the system's."""
    if not _PATH.fullmatch(path) or _SYSTEM.match(path):
        return ()
    return [part for part in path.split("/") if part not in _PLACES]
