"""Resolve the extras to a lock: `python deploy/lock/make_lock.py cpu > deploy/lock/cpu.txt`.

Runs pip's resolver without installing and prints `name==version`, sorted, without the packages of
exclude.txt. Needs a recent pip (`--report`); `make lock` calls it.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
KINDS = {"cpu", "gpu"}
ALONE = ("bfcl-eval==2026.3.23", "fanoutqa==1.1.1", "inspect-evals==0.28.0")
"""Questions that tests ask: their files are read, and what they depend on is not installed."""


def requirements(kind: str) -> list[str]:
    """The project's own requirements and those of all extras but the other kind's."""
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    chosen = list(project["dependencies"])
    for extra, packages in project["optional-dependencies"].items():
        if extra not in KINDS - {kind}:
            chosen += packages
    return [line for line in chosen if not line.startswith("agentlm[")]


def excluded(kind: str) -> set[str]:
    """Names that exclude.txt leaves out of this kind's lock."""
    lines = re.findall(r"^([a-z][\w-]*) *(cpu|gpu)? *#", (HERE / "exclude.txt").read_text(), re.M)
    return {name for name, only in lines if only in ("", kind)}


def main() -> None:
    kind = sys.argv[1]
    with tempfile.NamedTemporaryFile() as report:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--report", report.name, *requirements(kind)]
        subprocess.run(command, check=True)
        packages = json.loads(Path(report.name).read_text())["install"]
    pins = {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in packages
    }
    print(f"# Made by `make lock` ({kind}). Install with --no-deps: exclude.txt says why.")
    pins |= dict(pin.split("==") for pin in ALONE)
    for name in sorted(pins.keys() - excluded(kind)):
        # A local version (`+cpu`) says which build pip found, not which release is meant.
        print(f"{name}=={pins[name].split('+')[0]}")


if __name__ == "__main__":
    main()
