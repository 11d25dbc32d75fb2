"""A file that people wrote: what can't be read is named with its place, the rest is read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from agentlm.errors import OperatorError
from agentlm.exchange import files
from agentlm.exchange.files import Malformed, place_of, read_rows, within_limit
from agentlm.exchange.keys import Columns
from agentlm.trajectory import Trajectory


def chat(answer: str = "Paris.") -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": answer}]}


def malformed(path: Path) -> dict[str, str]:
    """The reasons, by place."""
    return {row.place: row.reason for row in read_rows(str(path)) if isinstance(row, Malformed)}


def answers(path: Path, columns: Columns | None = None) -> dict[str, str]:
    """What is said last, by place."""
    rows = list(read_rows(str(path), columns))
    assert all(isinstance(row, Trajectory) for row in rows), rows
    return {place_of(row): row.steps[-1].text for row in rows if isinstance(row, Trajectory)}


LINES = "".join(json.dumps(chat(str(n))) + "\n" for n in range(3))
LIST = json.dumps([chat(str(n)) for n in range(3)])
SPREAD = json.dumps([chat(str(n)) for n in range(3)], indent=2)
ONE_AFTER_ANOTHER = "\n".join(json.dumps(chat(str(n)), indent=2) for n in range(3))
SPELLINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "mark": lambda text: text.encode("utf-8-sig"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip, mark": lambda text: gzip.compress(text.encode("utf-8-sig")),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("text", [LINES, LIST, SPREAD, ONE_AFTER_ANOTHER])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "ROWS.JSONL", "rows.json.gz"])
def test_a_file_is_read_as_what_it_holds(
    tmp_path: Path, name: str, text: str, spelling: str
) -> None:
    path = tmp_path / name
    path.write_bytes(SPELLINGS[spelling](text))

    assert answers(path) == {f"{name}:{n + 1}": str(n) for n in range(3)}


def test_the_holding_counts_for_tables_too(tmp_path: Path) -> None:
    named_table, table = tmp_path / "rows.parquet", tmp_path / "rows.jsonl"
    named_table.write_text(LINES)
    parquet.write_table(pyarrow.Table.from_pylist([chat("0")]), table)

    assert list(answers(named_table).values()) == ["0", "1", "2"]
    assert list(answers(table).values()) == ["0"]
    named_table.write_bytes(b"nothing of the kind")
    with pytest.raises(OperatorError, match=r"rows.parquet: it is not a parquet file"):
        list(read_rows(str(named_table)))


def test_a_place_is_the_line_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "rows.jsonl"
    path.write_text(f"\n{json.dumps(chat())}\n\n  \n{{\n")

    assert list(malformed(tmp_path)) == ["a/rows.jsonl:5"]
    assert [place_of(row) for row in read_rows(str(path)) if isinstance(row, Trajectory)] == [
        "rows.jsonl:2"
    ]


def test_tables_are_read_with_their_nulls_and_numbers(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "messages": [{"role": "user", "content": "?", "weight": None}], "label": None},
        {"id": 2, "messages": None, "label": None},
        {"id": 3, "messages": [{"role": "user", "content": "?", "weight": None}], "label": False},
    ]
    rows[0]["messages"] += [{"role": "assistant", "content": "0", "weight": 1.0}]  # type: ignore[operator]
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)

    assert malformed(path).keys() == {"rows.parquet:2", "rows.parquet:3"}
    assert malformed(path)["rows.parquet:3"].startswith("label: it could change what is learnt")


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_text_that_is_not_unicode_costs_its_own_row_only(tmp_path: Path, suffix: str) -> None:
    rows = [json.dumps(row).encode() for row in (chat(), chat("\ud83d"), chat("X"), chat())]
    rows[2] = rows[2].replace(b"X", b"caf\xe9")
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"\n".join(rows) if suffix == ".jsonl" else b"[" + b",".join(rows) + b"]")

    reason = "not Unicode: half a surrogate pair, or a byte that is no UTF-8"
    assert malformed(path) == {f"{path.name}:2": reason, f"{path.name}:3": reason}
    assert len(list(read_rows(str(path)))) == 4


def test_a_row_nested_too_deeply_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{100_000 * '['}\n{json.dumps(chat())}\n")

    assert list(malformed(path)) == ["rows.jsonl:1"]


def test_a_row_without_an_end_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_CHARACTERS", 200)
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(chat())}\n{json.dumps(chat(1000 * 'a'))}\n{json.dumps(chat())}\n")

    with pytest.raises(OperatorError, match=r"rows.jsonl: row 2 has more than 200 characters"):
        list(read_rows(str(path)))


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_a_list_streams_wherever_its_chunks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    monkeypatch.setattr(files, "_PEEK", 5)
    path = tmp_path / "rows.json"
    path.write_text(SPREAD)

    assert list(answers(path).values()) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LIST[:-20].encode(), "row 3 is not JSON, and where the next one begins can't be told"),
        (LIST.replace('"1"', '"1').encode(), "row 2 is not JSON"),
        (LIST[:-1].encode(), "row 4 is not JSON"),
        (f"{LIST[:-1]},\n".encode(), "row 4 is not JSON"),
        (gzip.compress(LINES.encode(), mtime=0)[:-20], "can't be read"),
        (b"PAR1 and nothing more", "it is not a parquet file"),
    ],
)
def test_a_file_that_breaks_off_is_no_shorter_file(
    tmp_path: Path, text: bytes, reason: str
) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(text)

    with pytest.raises(OperatorError, match=rf"rows.json.* {reason}"):
        list(read_rows(str(path)))


# -- columns -------------------------------------------------------------------------------------


def test_columns_say_what_a_file_calls_the_keys_of_rows_and_turns(tmp_path: Path) -> None:
    turns = [{"speaker": "human", "said": "?"}, {"speaker": "gpt", "said": "Paris.", "score": 0}]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"talk": turns, "conversations": None, "label": False}))
    names = {"messages": "talk", "from": "speaker", "value": "said"}

    read = answers(path, Columns(names, ("label", "score")))

    assert read == {"rows.jsonl:1": "Paris."}
    assert malformed(path)["rows.jsonl:1"].startswith("of no known format, got the keys")


def test_a_column_that_is_nowhere_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(chat()))

    with pytest.raises(OperatorError, match=r"no row of .*rows.jsonl has a key functoins"):
        list(read_rows(str(path), Columns({"tools": "functoins"})))
    with pytest.raises(OperatorError, match=r"no format has a key 'mesages'; known: .*messages"):
        Columns({"mesages": "conv"})


# -- how much may be malformed -------------------------------------------------------------------


@pytest.mark.parametrize(("broken", "allowed"), [(1, 0.05), (0, 0.0), (20, 1.0)])
def test_a_few_rows_may_be_malformed(broken: int, allowed: float) -> None:
    rows = 20 * [Malformed("a:1", "because")]
    rows[broken:] = (20 - broken) * [Trajectory(owner="a", source="import", model="b")]  # type: ignore[list-item]

    assert len(list(within_limit(rows, "a", allowed))) == 20


def test_an_empty_file_is_no_data() -> None:
    with pytest.raises(OperatorError, match=r"a.jsonl has no rows"):
        list(within_limit([], "a.jsonl", 1.0))


def test_more_end_the_reading_with_an_example_of_each_kind() -> None:
    rows = [Malformed(f"a:{n}", f"kind {n % 2}") for n in range(9)]

    with pytest.raises(OperatorError) as raised:
        list(within_limit(rows, "a.jsonl", 0.5))

    message = "9 of 9 rows of a.jsonl can't be read, and only 50% may be so (max-malformed):"
    assert str(raised.value).splitlines() == [message, "  a:0: kind 0", "  a:1: kind 1"]
