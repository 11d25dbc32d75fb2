"""What others say a server of this kind has to do, asked of the same scripted server.

CompatCanary comes with Node's clients. The Open Responses suite and OpenAI's description of its API
are not packages: whoever wants them names a checkout or a file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from client_matrix.environments import PLACE, node
from client_matrix.questions import KEY, MODEL

SUITE_S = 600
_METHODS = {"get", "post", "put", "patch", "delete"}


def compat_canary(url: str) -> tuple[str, bool]:
    """What its profile for chat and Responses gives, and whether that is all there is."""
    program = PLACE / "node/node_modules/compatcanary/src/cli.js"
    command = [node(), program, "scan", "--base-url", f"{url}/v1", "--model", MODEL]
    done = _run([*command, "--api-key", KEY, "--profile", "modern"])
    lines = [line for line in done.splitlines() if line.startswith(("FAIL", "WARN", "Score"))]
    return "; ".join(lines), lines == ["Score: 100/100"]


def open_responses(url: str, checkout: Path) -> tuple[str, bool]:
    """How many of the suite's tests pass, and what the others say. It needs Bun."""
    bun = shutil.which("bun")
    if bun is None:
        return "not run: there is no bun here", False
    command = [bun, "run", "bin/compliance-test.ts", "--base-url", f"{url}/v1", "--json"]
    report = json.loads(_run([*command, "--api-key", KEY, "--model", MODEL], cwd=checkout))
    passed, total = report["summary"]["passed"], report["summary"]["total"]
    failed = [
        f"{result['id']}: {'; '.join(result.get('errors') or [])[:200]}"
        for result in report["results"]
        if result["status"] == "failed"
    ]
    return "\n    ".join([f"{passed} of {total}", *failed]), passed == total


def _run(command: list[str | Path], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SUITE_S)
    return done.stdout or done.stderr


def documented(ours: Mapping[str, Any], theirs: Path) -> str:
    """The share of OpenAI's operations that are there, and of these ones' properties."""
    return share(ours, json.loads(theirs.read_text()))


def share(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The same of two descriptions."""
    here, there = dict(_operations(ours)), dict(_operations(theirs))
    common = here.keys() & there.keys()
    wanted = {(name, each) for name in common for each in _properties(theirs, there[name])}
    got = {(name, each) for name in common for each in _properties(ours, here[name])}
    return (
        f"{len(common)} of {len(there)} operations; of their properties "
        f"{len(wanted & got)} of {len(wanted)}"
    )


def _operations(spec: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, item in spec["paths"].items():
        # What stands in braces is called as one likes.
        parts = [
            "{}" if part.startswith("{") else part for part in path.removeprefix("/v1").split("/")
        ]
        for method, operation in item.items():
            if method in _METHODS:
                yield (method, "/".join(parts)), operation


def _properties(spec: Mapping[str, Any], operation: Mapping[str, Any]) -> set[str]:
    """Names in the query and in the body of a request."""
    parameters = (_resolved(spec, each) for each in operation.get("parameters", ()))
    names = {each["name"] for each in parameters if each["in"] == "query"}
    content = _resolved(spec, operation.get("requestBody", {})).get("content", {})
    for body in content.values():
        names |= _names(spec, body.get("schema", {}))
    return names


def _names(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    whole = _resolved(spec, schema)
    names = set(whole.get("properties", ()))
    for part in (*whole.get("allOf", ()), *whole.get("anyOf", ()), *whole.get("oneOf", ())):
        names |= _names(spec, part)
    return names


def _resolved(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = spec
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema
