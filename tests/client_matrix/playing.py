"""Play a client's file in its environment, and tell what came of each cell over each wire."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from client_matrix import questions
from client_matrix.catalogue import Client
from client_matrix.cells import CELLS
from client_matrix.environments import PLACE, node, python_of

TESTS = Path(__file__).parents[1]
CLIENT_S = 480

QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DSPY_DISABLE_TELEMETRY": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
    "SCARF_NO_ANALYTICS": "true",
}
"""What the libraries read to keep to themselves: nothing but the server is asked."""

Outcome = dict[tuple[str, str], str | None]
"""Why each cell failed over each wire; None: it passed. Cells that the client's file lacks are not
there."""


def play(client: Client, url: str) -> Outcome:
    """A client that ends early has failed in all the cells that it had not come to."""
    with tempfile.TemporaryDirectory() as home:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = kept | QUIET | {"HOME": home, "TMPDIR": home, "PYTHONPATH": str(TESTS)}
        environment |= {"CLIENT_MATRIX_URL": f"{url}/v1", "OPENAI_API_KEY": "none"}
        # No proxy is there: whatever asks another host all the same is refused at once.
        proxy = "http://127.0.0.1:9"
        environment |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1"}
        environment |= {"CLIENT_MATRIX_QUESTIONS": json.dumps(_words(url), ensure_ascii=False)}
        command = _command(client)
        try:
            ended = subprocess.run(
                command, cwd=home, env=environment, capture_output=True, timeout=CLIENT_S
            )
            output, errors, how = ended.stdout, ended.stderr, f"ended with {ended.returncode}"
        except subprocess.TimeoutExpired as error:
            output, errors, how = error.stdout or b"", error.stderr or b"", "took too long"
    return outcome_of(client, output.decode(), errors.decode(errors="replace"), how)


def _words(url: str) -> dict[str, Any]:
    """The questions, for those that can't import them."""
    words = {name: word for name, word in vars(questions).items() if name.isupper()}
    return words | {"URL": f"{url}/v1"}


def _command(client: Client) -> list[str | Path]:
    if client.environment != "node":
        return [
            python_of(client),
            "-W",
            "ignore",
            "-m",
            "client_matrix.cells",
            client.file,
            *client.wires,
        ]
    # Node looks for packages beside the file that imports them.
    place = PLACE / "node"
    for name in ("cells.mjs", "questions.mjs", f"clients/{client.file}.mjs"):
        shutil.copy(Path(__file__).parent / name, place)
    return [node(), place / "cells.mjs", client.file, ",".join(client.wires), ",".join(CELLS)]


def outcome_of(client: Client, output: str, errors: str, how: str) -> Outcome:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"cell": ')]
    outcome: Outcome = {(line["wire"], line["cell"]): line["failure"] for line in lines}
    if any(outcome.values()) or how != "ended with 0":
        print(errors, file=sys.stderr)
    if how != "ended with 0":
        last = (errors.strip().splitlines() or [""])[-1][:200]
        cells = {(wire, cell) for wire in client.wires for cell in CELLS}
        outcome |= dict.fromkeys(cells - outcome.keys(), f"{how}: {last}")
    return outcome
