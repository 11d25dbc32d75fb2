"""How to install a part of AgentLM. No package index has it, so the commands name its source."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import urlsplit
from urllib.request import url2pathname

CHECKOUT = "/path/to/agentlm"
ENGINES = ("cpu", "gpu")


def install(extra: str) -> str:
    """The command that installs an extra.

    pip alone can't install an engine that works: deploy/lock/exclude.txt says what it would bring.
    """
    if extra in ENGINES:
        return (
            f"make -C {shlex.quote(source())} install, which puts the extra {extra} into its .venv"
        )
    return f"pip install '{source()}[{extra}]'"


def source() -> str:
    """Where the installed package came from, in the form that pip takes before an extra.

    This is a directory's path; for other sources it is a placeholder.
    """
    try:
        record = distribution("agentlm").read_text("direct_url.json")
    except PackageNotFoundError:
        record = None
    url = urlsplit(json.loads(record)["url"]) if record else None
    if url is None or url.scheme != "file" or url.path.endswith(".whl"):
        return CHECKOUT
    return url2pathname(url.path)
