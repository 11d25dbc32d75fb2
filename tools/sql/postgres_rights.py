"""Functions of Postgres that do more than read, though a read-only transaction lets them.

With them one conversation sees what others ask, ends their statements, takes locks that programs
wait for, writes to the log of changes, reaches other machines, or does as another role may. A
statement can't be held back from calling what its role may call, so the role must not: `SCRIPT`
makes one that may not, and its condition is what a role is refused by.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SCRIPT = Path(str(files(__package__) / "postgres-reader.sql"))


def callable_harm() -> str:
    """A query for the names of those that the current role may call; those that are not Postgres's
    own first."""
    _, condition, _ = SCRIPT.read_text(encoding="utf-8").split("-- harmful")
    return f"""
        SELECT p.proname FROM pg_proc p
        WHERE has_schema_privilege(p.pronamespace, 'USAGE')
          AND has_function_privilege(p.oid, 'EXECUTE') AND ({condition})
        GROUP BY 1 ORDER BY min((p.pronamespace = 'pg_catalog'::regnamespace)::int), 1
    """
