"""A SQLite file, queried by processes that can be killed."""

from __future__ import annotations

import json

from sqlalchemy import URL

from agentlm.agent.tool import ToolError
from agentlm.errors import OperatorError
from agentlm.tools.confinement.worker import WorkerPool, WorkerStopped
from agentlm.tools.sql.question import Question
from agentlm.tools.sql.sqlite import require_file

_WORKERS = 4
_GRACE_S = 1.0
"""SQLite stops by itself at the deadline, unless it is inside one long call."""


class SqliteReader:
    """One file for any number of conversations at once; a `Reader`."""

    def __init__(self, url: URL) -> None:
        self._workers = WorkerPool(
            _WORKERS, "agentlm.tools.sql.sqlite_worker", url.render_as_string()
        )

    @classmethod
    async def open(cls, url: URL) -> SqliteReader:
        """Read the file once. Raises OperatorError if that is not possible."""
        require_file(url)
        reader = cls(url)
        try:
            await reader.ask(Question(kind="rows", about="SELECT name FROM sqlite_master LIMIT 1"))
        except ToolError as error:
            await reader.close()
            raise OperatorError(f"the database {url} can't be read: {error}") from error
        return reader

    async def ask(self, question: Question) -> str:
        """Ask in the first free process. Cancelling the caller ends it."""
        content = question.model_dump_json().encode()
        try:
            answer = json.loads(await self._workers.ask(content, question.timeout_s + _GRACE_S))
        except WorkerStopped as error:
            raise ToolError("the statement took too long and was stopped") from error
        if "error" in answer:
            raise ToolError(answer["error"])
        return str(answer["text"])

    async def close(self) -> None:
        """End the processes."""
        await self._workers.close()
