"""The process that queries a SQLite file, because a single function call can't be interrupted.

    SELECT instr(a, b)   -- on two long texts takes minutes without a chance to stop it

A process can be killed. Its memory and the disk space of its sorts can be limited, too.
"""

from __future__ import annotations

import json
import resource
import sys

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from agentlm.agent.tool import ToolError
from agentlm.tools.confinement.inside import answer_frames, confine
from agentlm.tools.settings import MEBIBYTE
from agentlm.tools.sql.question import Question, answer, reason
from agentlm.tools.sql.sqlite import SqliteGuard

_MEMORY_BYTES = 2048 * MEBIBYTE
_SPILL_BYTES = 256 * MEBIBYTE


def reply(engine: Engine, guard: SqliteGuard, content: bytes) -> dict[str, str]:
    """The answer as `text`, or the error as `error`."""
    question = Question.model_validate_json(content)
    expected: tuple[type[Exception], ...] = (ToolError, SQLAlchemyError, *guard.errors)
    try:
        with engine.connect() as connection, guard.reading(connection, question.timeout_s):
            return {"text": answer(question, connection, guard)}
    except expected as error:
        return {"error": reason(error)}
    except MemoryError:
        return {"error": "the statement needs too much memory"}


def main(url: str) -> None:
    """Open the file, give up what reading it does not need, and answer."""
    guard = SqliteGuard()
    engine = guard.engine(make_url(url))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_SPILL_BYTES, _SPILL_BYTES))
    confine(_MEMORY_BYTES, keep_user=True)  # the file may be readable by this user only
    answer_frames(
        lambda content: json.dumps(reply(engine, guard, content)).encode() if content else b""
    )


if __name__ == "__main__":
    main(sys.argv[1])
