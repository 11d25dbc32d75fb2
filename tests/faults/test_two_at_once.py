"""Two processes at one thing: one does it, the other is refused in words or waits for its turn."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentlm.errors import NotFoundError, OperatorError
from agentlm.files import alone
from agentlm.models.aliases import Aliases, Promotion
from agentlm.server.cli import main

HOLD = """
import sys
from pathlib import Path
from agentlm.files import alone
with alone(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_names_who_has_it_and_is_free_when_that_process_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock) as other:
        for _ in range(2):
            with (
                pytest.raises(OperatorError, match=f"busy .process {other.pid}"),
                alone(lock, "busy"),
            ):
                pass
        other.send_signal(signal.SIGKILL)
        other.wait()
        with alone(lock, "busy"):
            pass


@pytest.mark.parametrize("spelling", ["{0}/agentlm.db", "{0}/../{1}/agentlm.db", "{0}/link.db"])
def test_a_second_server_on_one_file_is_refused_before_it_loads_anything(
    tmp_path: Path, spelling: str
) -> None:
    (tmp_path / "link.db").symlink_to("agentlm.db")
    log = "sqlite:///" + spelling.format(tmp_path, tmp_path.name)
    with held(tmp_path / ".agentlm.db.server") as other:
        arguments = ["--data-dir", str(tmp_path / "own"), "--store-url", log, "--port", "0"]
        with pytest.raises(OperatorError, match=f"another server runs .* {other.pid}"):
            main(["--model", "tiny", *arguments])
        with pytest.raises(OperatorError, match="another server runs"):
            main(["--model", "tiny", "--data-dir", str(tmp_path), "--port", "0"])


def test_a_server_without_a_rival_is_not_refused(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(NotFoundError, match="no-such-model"):
            main(["--model", "no-such-model", "--data-dir", str(tmp_path), "--port", "0"])


def test_promotions_at_once_all_stand_in_the_history(tmp_path: Path) -> None:
    def promote(number: int) -> None:
        Aliases(tmp_path).add("production", Promotion(card=f"m{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(promote, range(40)))
    cards = {promotion.card for promotion in Aliases(tmp_path).history("production")}
    assert len(cards) == 40
