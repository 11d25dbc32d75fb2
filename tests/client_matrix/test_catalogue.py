"""What the catalogue names is there, and docs/clients.md is of the versions that are pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from client_matrix.__main__ import mark_of
from client_matrix.catalogue import CLIENTS, Client
from client_matrix.cells import CELLS
from client_matrix.environments import ROOT, lock_of, version_of

FILES = Path(__file__).parent / "clients"
PAGE = (ROOT / "docs/clients.md").read_text()
every_client = pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])


def test_every_file_is_a_client() -> None:
    files = {file.stem for file in FILES.glob("*.*")} - {"__init__"}
    assert files == {client.file for client in CLIENTS}


@every_client
def test_its_requirements_are_pinned(client: Client) -> None:
    pins = dict(re.findall(r"^(\S+)==(\S+)$", lock_of(client.environment).read_text(), re.M))
    wanted = {re.split(r"[\[<>=]", requirement)[0] for requirement in client.requirements}
    assert wanted <= pins.keys()
    assert f"| {client.name} {version_of(client)} |" in PAGE


@every_client
def test_the_page_has_a_dash_only_where_there_is_no_way(
    client: Client,
) -> None:
    [file] = FILES.glob(f"{client.file}.*")
    filled = re.findall(r"^(?:export )?(?:async )?(?:def|function) (\w+)", file.read_text(), re.M)
    row = re.search(rf"^\| {client.name} .*$", PAGE, re.M)
    assert row
    marks = row[0].strip("| ").split(" | ")[1:]
    assert marks == ["pass" if cell in filled else "–" for cell in CELLS]
    assert client.no_way == tuple(cell for cell in CELLS if cell not in filled)


def test_what_nobody_has_tried_is_not_said_to_be_impossible() -> None:
    client = Client("one", "one", "node", (), no_way=("stream",))
    outcome = {"text": None, "error": "it hung"}
    marks = [mark_of(client, outcome, cell) for cell in ("text", "error", "stream", "cancel")]
    assert marks == ["pass", "FAIL", "–", "not tried"]
