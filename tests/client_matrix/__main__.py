"""`make clients ARGS="[--few] [--install] [--lock] [--suites …] [NAME …]"`: who can do what, as a
table.

Ends with 1 if any cell failed, with the libraries' own words on standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from client_matrix import environments, suites
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
    parser.add_argument("--suites", action="store_true", help="play CompatCanary, and no client")
    parser.add_argument(
        "--open-responses", type=Path, metavar="DIR", help="with --suites: a checkout of its suite"
    )
    parser.add_argument(
        "--openapi", type=Path, metavar="FILE", help="with --suites: OpenAI's openapi.json"
    )
    args = parser.parse_args()
    if args.lock:
        for name in environments.NAMES:
            environments.lock_of(name).write_text(environments.lock(name))
        return
    if args.suites:
        environments.install([client for client in CLIENTS if client.environment == "node"])
        sys.exit(play_suites(args.open_responses, args.openapi))
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
    print(f"| client | wire | {' | '.join(cell.replace('_', ' ') for cell in CELLS)} |")
    print("|---" * (2 + len(CELLS)) + "|")
    failures = []
    with tempfile.TemporaryDirectory() as directory, scripted_server(Path(directory)) as server:
        for client in clients:
            outcome = play(client, server.url)
            for wire in client.wires:
                print(row_of(client, wire, outcome), flush=True)
            failures += [(client.name, *cell, why) for cell, why in outcome.items() if why]
    for name, wire, cell, why in failures:
        print(f"{name}, {cell} over {wire}: {why}")
    return 1 if failures else 0


def play_suites(open_responses: Path | None, openapi: Path | None) -> int:
    """Print what each says; returns the exit status."""
    with tempfile.TemporaryDirectory() as directory, scripted_server(Path(directory)) as server:
        results = {"CompatCanary, modern": suites.compat_canary(server.url)}
        if open_responses is not None:
            results["Open Responses"] = suites.open_responses(server.url, open_responses)
        if openapi is not None:
            with urlopen(f"{server.url}/openapi.json", timeout=60) as response:
                documented = suites.documented(json.load(response), openapi)
            results["OpenAI's description"] = documented, True
    for name, (summary, _) in results.items():
        print(f"{name}: {summary}")
    return 0 if all(whole for _, whole in results.values()) else 1


def row_of(client: Client, wire: str, outcome: Outcome) -> str:
    marks = (mark_of(client, outcome, wire, cell) for cell in CELLS)
    return f"| {client.name} {environments.version_of(client)} | {wire} | {' | '.join(marks)} |"


def mark_of(client: Client, outcome: Outcome, wire: str, cell: str) -> str:
    if (wire, cell) not in outcome:
        return "–" if cell in client.no_way else "not tried"
    return "FAIL" if outcome[wire, cell] else "pass"


if __name__ == "__main__":
    main()
