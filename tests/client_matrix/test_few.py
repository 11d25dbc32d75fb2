"""A few of the clients, as `make clients` plays them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client_matrix import environments
from client_matrix.catalogue import CLIENTS, Client
from client_matrix.cells import CELLS
from client_matrix.playing import outcome_of, play
from client_matrix.server import scripted_server
from support.serving import Running

FEW = [client for client in CLIENTS if client.few]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with scripted_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.mark.parametrize("client", FEW, ids=[client.file for client in FEW])
def test_a_client_can_do_all_that_it_does_elsewhere(server: Running, client: Client) -> None:
    if not environments.is_installed([client]):
        pytest.skip('not installed: make clients ARGS="--few --install"')
    outcome = play(client, server.url)
    assert outcome, "it has no cell"
    assert {cell: why for cell, why in outcome.items() if why} == {}
    assert {wire for wire, _ in outcome} == {*client.wires}


def test_a_client_that_ends_early_has_failed_in_what_it_had_not_come_to() -> None:
    client = Client("one", "one", "node", (), wires=("responses", "chat"))
    output = '{"cell": "text", "wire": "responses", "failure": null}\nits own words\n'
    outcome = outcome_of(client, output, "ImportError: no such module", "ended with 1")
    assert outcome.pop(("responses", "text")) is None
    assert set(outcome.values()) == {"ended with 1: ImportError: no such module"}
    assert len(outcome) == 2 * len(CELLS) - 1
