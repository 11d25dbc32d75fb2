"""What the catalogue names is there, and docs/clients.md is of the versions that are pinned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from client_matrix.__main__ import mark_of
from client_matrix.catalogue import CLIENTS, Client
from client_matrix.cells import CELLS
from client_matrix.environments import ROOT, lock_of, version_of
from client_matrix.suites import share

FILES = Path(__file__).parent / "clients"
PAGE = (ROOT / "docs/clients.md").read_text()
every_client = pytest.mark.parametrize("client", CLIENTS, ids=[client.file for client in CLIENTS])


def test_every_file_is_a_client() -> None:
    files = {file.stem for file in FILES.glob("*.*")} - {"__init__"}
    assert files == {client.file for client in CLIENTS}


@every_client
def test_its_requirements_are_pinned(client: Client) -> None:
    pins = dict(re.findall(r"^(\S+)==(\S+)$", lock_of(client.environment).read_text(), re.M))
    wanted = {re.split(r"[\[<>=]", requirement)[0] for requirement in client.requirements}
    assert wanted <= pins.keys()
    assert all(f"| {client.name} {version_of(client)} | {wire} |" in PAGE for wire in client.wires)


@every_client
def test_the_page_has_a_dash_only_where_there_is_no_way(
    client: Client,
) -> None:
    [file] = FILES.glob(f"{client.file}.*")
    filled = re.findall(r"^(?:export )?(?:async )?(?:def|function) (\w+)", file.read_text(), re.M)
    for wire in client.wires:
        row = re.search(rf"^\| {re.escape(client.name)} \S+ \| {wire} .*$", PAGE, re.M)
        assert row
        marks = row[0].strip("| ").split(" | ")[2:]
        assert marks == ["pass" if cell in filled else "–" for cell in CELLS]
    assert client.no_way == tuple(cell for cell in CELLS if cell not in filled)


def test_what_nobody_has_tried_is_not_said_to_be_impossible() -> None:
    client = Client("one", "one", "node", (), no_way=("stream",))
    outcome = {("chat", "text"): None, ("chat", "error"): "it hung", ("responses", "cancel"): None}
    cells = ("text", "error", "stream", "cancel")
    marks = [mark_of(client, outcome, "chat", cell) for cell in cells]
    assert marks == ["pass", "FAIL", "–", "not tried"]


def test_the_share_of_what_is_documented() -> None:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}}
    ask = {"requestBody": body, "parameters": [{"name": "after", "in": "query"}]}
    look = {"get": {}}
    base = {"allOf": [{"properties": {"model": {}}}], "properties": {"input": {}}}

    def spec(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
        schema = {**base, "properties": {**base["properties"], **more}}
        return {"paths": paths, "components": {"schemas": {"Body": schema}}}

    theirs = {"/ask": {"post": ask}, "/it/{id}": look, "/other": look}
    ours = {"/v1/ask": {"post": {"requestBody": body}}, "/v1/it/{name}": look, "/metrics": look}
    summary = share(spec(ours, mine={}), spec(theirs, prompt={}))
    assert summary == "2 of 3 operations; of their properties 2 of 4"
