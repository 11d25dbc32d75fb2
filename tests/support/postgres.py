"""A PostgreSQL server for tests: Debian's programs, a temporary directory, a unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import psycopg


def postgres_programs() -> Path | None:
    """Where the server's programs are, the newest version first; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return found[0].parent if found else None


@dataclass(frozen=True)
class Postgres:
    """One server; its databases are thrown away with it."""

    programs: Path
    folder: Path

    @classmethod
    def start(cls, programs: Path) -> Postgres:
        """Make a cluster and start it. The server refuses to be root, so root lends it a user."""
        folder = Path(tempfile.mkdtemp(prefix="agentlm-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = cls(programs, folder)
        server._run("initdb", "--no-sync", "--auth=trust", "--username=postgres", folder / "data")
        server.restart()
        return server

    def restart(self) -> None:
        """Start it again after `stop`; returns when it takes connections."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._control("start", "--wait", f"--log={self.folder / 'log'}", f"--options={options}")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self._control("stop", "--mode=immediate")

    def close(self) -> None:
        """Stop it and remove all it kept."""
        self.stop()
        shutil.rmtree(self.folder)

    def create_database(self) -> str:
        """A new empty database's URL."""
        name = f"test_{uuid.uuid4().hex}"
        address = f"host={self.folder} user=postgres dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", f"--pgdata={self.folder / 'data'}", "--silent", *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        user = "postgres" if os.geteuid() == 0 else None
        command = [self.programs / program, *arguments]
        subprocess.run(command, check=True, user=user, stdout=subprocess.DEVNULL, cwd="/")
