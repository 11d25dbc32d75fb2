"""`make clients ARGS="[--few] [--install] [--lock] [NAME …]"`: who can do what, as a table.

Ends with 1 if any cell failed, with the libraries' own words on standard error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from client_matrix import environments
from client_matrix.catalogue import CLIENTS, Client
from client_matrix.cells import CELLS
from client_matrix.playing import Outcome, play
from client_matrix.server import scripted_server


def main() -> None:
    names = [client.name for client in CLIENTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", choices=[[], *names], help="all, if none is named")
    parser.add_argument("--few", action="store_true", help="those of continuous integration only")
    parser.add_argument("--install", action="store_true", help="install, and play nothing")
    parser.add_argument("--lock", action="store_true", help="resolve the locks anew, and no more")
    args = parser.parse_args()
    if args.lock:
        for name in environments.NAMES:
            environments.lock_of(name).write_text(environments.lock(name))
        return
    clients = [
        client
        for client in CLIENTS
        if (client.few or not args.few) and (client.name in args.name or not args.name)
    ]
    environments.install(clients)
    if not args.install:
        sys.exit(table(clients))


def table(clients: Sequence[Client]) -> int:
    """Print it in Markdown as it comes, then why what failed did; returns the exit status."""
    print(f"| client | {' | '.join(cell.replace('_', ' ') for cell in CELLS)} |")
    print("|---" * (1 + len(CELLS)) + "|")
    failures = []
    with tempfile.TemporaryDirectory() as directory, scripted_server(Path(directory)) as server:
        for client in clients:
            outcome = play(client, server.url)
            marks = (mark_of(client, outcome, cell) for cell in CELLS)
            print(
                f"| {client.name} {environments.version_of(client)} | {' | '.join(marks)} |",
                flush=True,
            )
            failures += [(client.name, cell, why) for cell, why in outcome.items() if why]
    for name, cell, why in failures:
        print(f"{name}, {cell}: {why}")
    return 1 if failures else 0


def mark_of(client: Client, outcome: Outcome, cell: str) -> str:
    if cell not in outcome:
        return "–" if cell in client.no_way else "not tried"
    return "FAIL" if outcome[cell] else "pass"


if __name__ == "__main__":
    main()
