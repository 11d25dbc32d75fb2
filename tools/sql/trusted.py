"""Any other database, if the operator vouches that the role can only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine

from agentlm.agent.tool import ToolError
from agentlm.errors import OperatorError
from agentlm.tools.sql.guard import Result


class TrustedGuard:
    """Statements run in a transaction that is rolled back. Everything else is up to the role."""

    errors: tuple[type[Exception], ...] = ()

    def __init__(self, *, trusted: bool) -> None:
        self._trusted = trusted

    def engine(self, url: URL) -> Engine:
        """Raises OperatorError unless the operator vouched for the role."""
        if not self._trusted:
            raise OperatorError(
                f"AgentLM can't hold a {url.get_backend_name()} database to reading; give sql_url "
                "a role that can only read, and say so with `sql_trust_role`"
            )
        return create_engine(url, pool_pre_ping=True)

    def check(self, connection: Connection) -> None:
        """Connecting was the check."""

    @contextmanager
    def reading(self, connection: Connection, timeout_s: float) -> Iterator[None]:
        """Only the deadline of the tool call applies."""
        try:
            yield
        finally:
            connection.rollback()

    def execute(self, connection: Connection, statement: str) -> Result:
        """As the driver runs it, streamed where the driver can."""
        options = {"stream_results": True, "no_parameters": True}
        cursor = connection.exec_driver_sql(statement, execution_options=options)
        if not cursor.returns_rows:
            raise ToolError("the statement gives no rows; what it changed is undone")
        return Result(list(cursor.keys()), (tuple(row) for row in cursor))

    def interrupt(self, connection: Connection) -> None:
        """Closing the connection is the one way that every driver supports."""
        connection.invalidate()
