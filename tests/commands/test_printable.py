"""What strangers wrote steers no terminal, whichever view shows it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from agentlm.cli import main
from agentlm.console import Console
from agentlm.messages import ToolCall
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.printable import UNPRINTABLE, printable
from agentlm.store import ApiKey, AuditRecord, Entry, Store
from agentlm.trajectory import Feedback, Origin, Step
from support.records import TOOL, interaction, prompt, sampled, trajectory

HOSTILE = {
    "clears the screen": "\x1b[2J\x1b[H",
    "names the window": "\x1b]0;owned\x07",
    "links elsewhere": "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\",
    "in one byte": "\x9b2J\x9d0;owned\x9c",
    "goes back": "rm -rf /\r\x08\x08ls      ",
    "other order": "\u202egnp.exe\u202c \u2066a\u2069",
    "unseen": "a\u200bb\ufeffc\U000e0041d",
    "ends a line": "one\u2028two\x85three\x0bfour\x0cfive",
}
ALL = " ".join(HOSTILE.values())


def test_every_kind_is_known() -> None:
    assert all(UNPRINTABLE.search(text) for text in HOSTILE.values())


def test_the_short_way_is_that_of_the_pattern() -> None:
    for character in map(chr, range(0x180)):
        assert (printable(character) == character) is (UNPRINTABLE.search(character) is None)


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_has_nothing_unseen_and_in_json_means_the_same(text: str) -> None:
    printed = printable(text)

    assert UNPRINTABLE.search(printed) is None
    assert printable(printed) == printed
    written = json.dumps(text, ensure_ascii=False)
    assert json.loads(printable(written)) == json.loads(written)


@pytest.mark.parametrize(
    "text", ["naïve 你好 🙂 👩\u200d💻", "שלום \u200f", "a\tb\nc", "می\u200cخواهم"]
)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_console_shows_it_whatever_it_stands_in(text: str) -> None:
    written = StringIO()
    console = Console(file=written, force_terminal=True, color_system=None, width=200)
    table = Table("name")
    table.add_row(f"[bold]{text}[/nothing]")
    for each in (text, Text(text), table):
        console.print(each)

    assert UNPRINTABLE.search(written.getvalue()) is None
    assert "[bold]" in written.getvalue()


def test_a_log_line_shows_it_with_its_traceback(tmp_path: Path) -> None:
    main(["keys", "list", "--data-dir", str(tmp_path)])
    try:
        raise ValueError(ALL)
    except ValueError:
        record = logging.LogRecord("a", 40, "", 1, "said %s", (ALL,), sys.exc_info())
    assert logging.lastResort is not None
    printed = logging.lastResort.format(record)

    assert "ValueError" in printed
    assert UNPRINTABLE.search(printed) is None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log and a registry in which strangers wrote all that they can."""

    async def fill(store: Store) -> None:
        header = trajectory(
            tools=(TOOL,), environment="db", task_id=ALL, metadata={"note": ALL}, model=ALL
        )
        call = ToolCall(id="call_1", name="bash", arguments=json.dumps(ALL, ensure_ascii=False))
        observed = Step(
            role="tool", origin=Origin.PROMPT, text=ALL, token_ids=(6,), tool_call_id="call_1"
        )
        steps = (
            prompt([1], text=ALL),
            sampled([2], text=ALL, thought=ALL, call=call),
            observed,
            sampled([7], text=ALL, answer=ALL, error=ALL),
        )
        await store.append(Entry(header, 0, steps, interaction(header, 0, 4)))
        judged = Feedback(author=ALL, comment=ALL, correction=ALL, value=1.0)
        await store.add_feedback(judged, trajectory_id=header.id, admin=True)
        record = AuditRecord(
            tool=ALL,
            trajectory_id=header.id,
            owner=ALL,
            call_id="call_1",
            verdict="ok",
            arguments_digest="d",
            output_chars=1,
            seconds=0.1,
        )
        await store.audit.add(record)
        await store.keys.create(ApiKey(name=ALL))

    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    asyncio.run(fill(store))
    store.close()
    card = ModelCard(name="m", source="upstream", location="http://x", upstream_model=ALL)
    Registry(tmp_path).add(card)
    return tmp_path


@pytest.mark.parametrize(
    "view",
    [
        *("logs list", "logs list --json", "logs show ID", "logs show ID --full"),
        *("logs show ID --json", "logs tail", "logs audit", "logs audit --json", "logs stats"),
        *("logs stats --json", "logs export", "logs export --format openai", "keys list"),
        *("keys list --json", "models list", "models list --json", "models show m", "logs show ?"),
    ],
)
def test_no_view_of_the_log_lets_it_through(
    data: Path, capsys: pytest.CaptureFixture[str], view: str
) -> None:
    store = Store.open(f"sqlite:///{data / 'agentlm.db'}")
    [header] = store.page(None, limit=1)[0]
    store.close()
    names = {"ID": header.id, "?": ALL}
    main([*(names.get(word, word) for word in view.split()), "--data-dir", str(data)])
    printed = capsys.readouterr()

    assert printed.out + printed.err
    assert UNPRINTABLE.search(printed.out + printed.err) is None
