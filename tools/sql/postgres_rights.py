"""Functions of Postgres that do more than read, although a read-only transaction allows them.

With them, one conversation can see others' queries, end their statements, take locks that programs
wait for, write to the log of changes, reach other machines, or act as another role. A statement can
call whatever its role may call, so the role must not be allowed to: `SCRIPT` makes a role that
isn't, and roles are refused by its condition.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SCRIPT = Path(str(files(__package__) / "postgres-reader.sql"))


def callable_harm() -> str:
    """A query for the names of such functions that the current role may call; those that are not
    Postgres's own come first."""
    _, condition, _ = SCRIPT.read_text(encoding="utf-8").split("-- harmful")
    return f"""
        SELECT p.proname FROM pg_proc p
        WHERE has_schema_privilege(p.pronamespace, 'USAGE')
          AND has_function_privilege(p.oid, 'EXECUTE') AND ({condition})
        GROUP BY 1 ORDER BY min((p.pronamespace = 'pg_catalog'::regnamespace)::int), 1
    """
