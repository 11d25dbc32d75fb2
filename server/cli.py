"""`agentlm-serve`: flags, and every check that can be made before the minutes of loading a model.

The module that serves, `serving`, takes seconds to import. It is imported after the flags are
checked.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from agentlm.errors import OperatorError
from agentlm.files import alone
from agentlm.server.settings import ServeSettings
from agentlm.server.vllm.launch import prepare_environment
from agentlm.settings import parse_known

LEAST_FREE_BYTES = 256 << 20
"""With less room in the data directory, the log would fill the disk before anybody notices."""


def main(argv: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM. Raises OperatorError for what the operator can correct."""
    settings, engine_arguments = parse_known(ServeSettings, argv, "agentlm serve")
    prepare_environment()
    check_disk(settings.prepare_data_dir())
    with _only_server(settings.log_url()), _listen(settings) as listener:
        from agentlm.server.serving import run

        run(settings, engine_arguments, listener)
    return 0


def check_disk(directory: Path) -> None:
    """Raises OperatorError if there is hardly any room left."""
    free = shutil.disk_usage(directory).free
    if free < LEAST_FREE_BYTES:
        raise OperatorError(
            f"only {free >> 20} MiB are free in {directory}, and the log needs at least "
            f"{LEAST_FREE_BYTES >> 20}: make room, or give another --data-dir"
        )


def _only_server(log: str) -> AbstractContextManager[None]:
    """Be the only server of a log in a file: others would not see its leases, approvals and limits,
    which are in the server's memory. Raises OperatorError if another one runs."""
    from agentlm.store.database import file_of

    file = file_of(log)
    if file is None or not file.parent.is_dir():
        return nullcontext()
    refusal = f"another server runs on the log {file}: end it, or give this one another --data-dir"
    return alone(file.with_name(f".{file.name}.server"), refusal)


def _listen(settings: ServeSettings) -> socket.socket:
    """Bind the port. Raises OperatorError if it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OperatorError(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "end what listens there, or give another --port"
        ) from error
    return listener
