"""Our database answers as MariaDB does, where Debian's mariadb-server is installed."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentlm.environments.db.database import Database, StatementError
from agentlm.environments.db.mysql.values import as_text

PEOPLE = [
    ("Anna Berg", "29", "Oslo", "1,200", "x_y", "2019-03-05"),
    ("Bob Stone", "41", "Zürich", "900", None, "2018-11-20"),
    ("José García", "35", "Zurich", "1,050.50", "100%", "2019-01-31"),
    ("jonas Émile", "9", "oslo", "80", "", "2021-07-01"),
    ("Eva Larsson", "100", "Paris", "2000", "3 cats", "2017-02-28"),
]
PARTS = [("bolt", 12, 2.5), ("nut", 7, 0.25), ("gear", 41, 19.99)]
COLUMNS = {
    "people": [(name, "TEXT") for name in ("name", "age", "city", "salary", "note", "joined")],
    "parts": [("label", "TEXT"), ("size", "INTEGER"), ("price", "REAL")],
}
MODES = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)
COLLATION = "utf8mb4_uca1400_nopad_ai_ci"
_SECTION = re.compile(r"-- section: (\w+)")

Rows = list[list[str]]


def sections() -> dict[str, list[str]]:
    """Statements by section."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in Path(__file__).with_name("mysql_statements.sql").read_text().splitlines():
        if section := _SECTION.match(line):
            name = section[1]
        elif line and not line.startswith("--"):
            found.setdefault(name, []).append(line)
    return found


STATEMENTS = sections()


def database() -> Database:
    made = Database()
    made.create("people", COLUMNS["people"], PEOPLE)
    made.create("parts", COLUMNS["parts"], PARTS)
    return made


def our_rows(made: Database, statement: str) -> Rows | None:
    """None if it is refused."""
    try:
        rows = made.run(statement).rows
    except StatementError:
        return None
    return [["NULL" if value is None else as_text(value) or "" for value in row] for row in rows]


class MariaDb:
    """A server of our own, on a socket in a temporary directory."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "socket"
        self._data = directory / "data"
        options = ["--no-defaults", f"--datadir={self._data}", f"--user={getpass.getuser()}"]
        subprocess.run(
            ["mariadb-install-db", *options, "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
        )
        self._server = subprocess.Popen(
            [
                *("mariadbd", *options, f"--socket={self._socket}", "--skip-networking"),
                *(f"--sql-mode={MODES}", "--character-set-server=utf8mb4"),
                *(f"--collation-server={COLLATION}", f"--pid-file={directory / 'pid'}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        for _ in range(100):
            if self._client("SELECT 1;").returncode == 0:
                return
        raise AssertionError("mariadbd did not start")

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(30)

    def answers(self, statements: list[str], *, then: str = "") -> list[Rows | None]:
        """Each asked of fresh tables, with what `then` shows; None for what is refused."""
        script = []
        for number, statement in enumerate(statements):
            script += [*self._tables(), f"SELECT '@@{number}';", f"{statement}\n;", then]
        output = self._client("\n".join(script)).stdout
        parts = re.split(r"^@@\d+\n", output, flags=re.M)[1:]
        assert len(parts) == len(statements)
        return [self._read(part) for part in parts]

    def _client(self, script: str) -> subprocess.CompletedProcess[str]:
        command = ["mariadb", "--no-defaults", "--user=root", f"--socket={self._socket}"]
        begin = f"SET NAMES utf8mb4 COLLATE {COLLATION};\n"
        return subprocess.run(
            [*command, "--force", "--batch", "--skip-column-names", "--unbuffered"],
            input=begin + script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _tables(self) -> Iterator[str]:
        yield "DROP DATABASE IF EXISTS dbbench; CREATE DATABASE dbbench; USE dbbench;"
        for name, columns in COLUMNS.items():
            kinds = {"INTEGER": "INT", "REAL": "DOUBLE"}
            listed = ", ".join(f"`{column}` {kinds.get(k, k)}" for column, k in columns)
            yield f"CREATE TABLE {name} ({listed});"
            rows = PEOPLE if name == "people" else PARTS
            yield f"INSERT INTO {name} VALUES {', '.join(map(_tuple, rows))};"

    def _read(self, output: str) -> Rows | None:
        lines = output.split("\n")[:-1]
        if any(line.startswith("ERROR ") for line in lines):
            return None
        return [[_unescaped(cell) for cell in line.split("\t")] for line in lines]


def _tuple(row: tuple[object, ...]) -> str:
    cells = ("NULL" if v is None else f"'{v}'" if isinstance(v, str) else str(v) for v in row)
    return f"({', '.join(cells)})"


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), cell)


def alike(ours: Rows, theirs: Rows, *, ordered: bool, exact: bool = False) -> bool:
    """Rows that say the same; decimals may have more or fewer digits, unless they are kept."""
    if not ordered:
        ours, theirs = sorted(ours), sorted(theirs)
    if len(ours) != len(theirs):
        return False
    pairs = zip(ours, theirs, strict=True)
    if exact:
        return ours == theirs
    return all(len(a) == len(b) and all(map(_same, a, b)) for a, b in pairs)


def _same(a: str, b: str) -> bool:
    if a == b:
        return True
    try:
        return float(a) == pytest.approx(float(b), rel=1e-4, abs=1e-4)
    except ValueError:
        return False


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    if shutil.which("mariadbd") is None:
        pytest.skip("MariaDB is not installed (Debian: mariadb-server)")
    with closing(MariaDb(tmp_path_factory.mktemp("mariadb"))) as server:
        server.wait()
        yield server


@pytest.mark.parametrize("section", ["rows", "values"])
def test_questions_are_answered_as_mariadb_answers_them(mariadb: MariaDb, section: str) -> None:
    statements = STATEMENTS[section]
    wrong = []
    with closing(database()) as made:
        for statement, theirs in zip(statements, mariadb.answers(statements), strict=True):
            ours = our_rows(made, statement)
            ordered = "ORDER BY" in statement
            if ours is None or theirs is None or not alike(ours, theirs, ordered=ordered):
                wrong.append(f"{statement}\n  ours:   {ours}\n  theirs: {theirs}")
    assert not wrong, f"{len(wrong)} of {len(statements)}:\n" + "\n".join(wrong)


def test_what_mariadb_refuses_is_refused(mariadb: MariaDb) -> None:
    statements = STATEMENTS["refused"]
    with closing(database()) as made:
        taken = [s for s in statements if our_rows(made, s) is not None]
    theirs = [
        s for s, a in zip(statements, mariadb.answers(statements), strict=True) if a is not None
    ]
    assert (taken, theirs) == ([], [])


def test_what_only_mysql_refuses_is_refused() -> None:
    with closing(database()) as made:
        assert [s for s in STATEMENTS["stricter"] if our_rows(made, s) is not None] == []


def test_statements_keep_their_meaning_where_no_mariadb_is_installed() -> None:
    with closing(database()) as made:
        for section in ("rows", "values"):
            assert [s for s in STATEMENTS[section] if our_rows(made, s) is None] == []
        assert [s for s in STATEMENTS["refused"] if our_rows(made, s) is not None] == []


def test_changes_leave_what_mariadb_leaves(mariadb: MariaDb) -> None:
    statements = STATEMENTS["changes"]
    answers = mariadb.answers(statements, then="SELECT * FROM people; SELECT * FROM parts;")
    wrong = []
    for statement, theirs in zip(statements, answers, strict=True):
        with closing(database()) as made:
            done = our_rows(made, statement)
            tables = (our_rows(made, f"SELECT * FROM {table}") for table in COLUMNS)
            ours = [row for rows in tables for row in rows or []]
        if done is None or theirs is None or not alike(ours, theirs, ordered=False, exact=True):
            wrong.append(f"{statement}\n  ours:   {ours}\n  theirs: {theirs}")
    assert not wrong, f"{len(wrong)} of {len(statements)}:\n" + "\n".join(wrong)
