"""What a plan runs on: commands, one server, a clock.

`Machine` is the seam; `ThisMachine` is real. Everything that is started here ends when this process
does, even if it is killed: the kernel sends the signal.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import httpx

from agentlm.commands.reproduction.experiment import Experiment
from agentlm.commands.reproduction.plan import PROGRAM
from agentlm.errors import OperatorError
from agentlm.finetune.report.start import start_record
from agentlm.models.registry import Registry
from agentlm.printable import say

_SET_PARENT_DEATH_SIGNAL = 1
_STARTED_S = 900.0
"""A model may have to be downloaded or converted first."""
_ENDED_S = 60.0
_LOOK_S = 0.5


class Machine(Protocol):
    def run(self, words: Sequence[str]) -> int:
        """Run one of our commands to its end; returns its exit code."""
        ...

    def serve(self, model: str, words: Sequence[str]) -> None:
        """Start a server by this command and wait until it serves the model.

        Raises OperatorError if it does not get that far.
        """
        ...

    def stop_serving(self) -> None:
        """End the server if one runs."""
        ...

    def models(self) -> frozenset[str]:
        """The names of all known models."""
        ...

    def weights(self, model: str) -> str | None:
        """The version of a model's weights."""
        ...

    def about(self) -> tuple[str | None, str]:
        """The commit of the program, if it runs from its repository, and a description of the
        machine."""
        ...

    def free_gb(self) -> float:
        """Free disk space."""
        ...

    def now(self) -> float:
        """Unix seconds."""
        ...


class ThisMachine:
    """Commands are processes, by default in the experiment's directory."""

    def __init__(
        self,
        experiment: Experiment,
        url: str,
        keeps_open: int,
        *,
        working_directory: Path | None = None,
        store_url: str | None = None,
    ) -> None:
        self._directory = experiment.data_dir
        self._logs = experiment.directory / "logs"
        self._working_directory = working_directory or experiment.directory
        self._keeps_open = keeps_open
        self._server: subprocess.Popen[bytes] | None = None
        self.variables = {"AGENTLM_DATA_DIR": str(experiment.data_dir), "AGENTLM_URL": url}
        """What is set for every command, so that none need say where it works."""
        self.variables |= {"AGENTLM_STORE_URL": store_url} if store_url else {}

    def run(self, words: Sequence[str]) -> int:
        with self._start(words) as command:
            try:
                return command.wait()
            except BaseException:
                _end(command)
                raise

    def serve(self, model: str, words: Sequence[str]) -> None:
        log = self._logs / f"serve-{model}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            self._server = self._start(words, output)
        until = time.monotonic() + _STARTED_S
        while not self._serves(model):
            if self._server.poll() is not None or time.monotonic() > until:
                self.stop_serving()
                last = (log.read_text(errors="replace").strip() or "nothing was said").splitlines()
                raise OperatorError(f"{model} is not served: {last[-1]} (all of it: {log})")
            time.sleep(_LOOK_S)

    def stop_serving(self) -> None:
        if self._server is not None:
            _end(self._server)
            self._server = None

    def models(self) -> frozenset[str]:
        return frozenset(card.name for card in Registry(self._directory).list())

    def weights(self, model: str) -> str | None:
        registry = Registry(self._directory)
        return registry.resolve(registry.get(model)).card.weights_version

    def about(self) -> tuple[str | None, str]:
        return start_record().get("commit"), f"{os.cpu_count()} cores, {platform.machine()}"

    def free_gb(self) -> float:
        return shutil.disk_usage(self._directory).free / 1e9

    def now(self) -> float:
        return time.time()

    def _serves(self, model: str) -> bool:
        """Whether our server lists the model. If our server is dead, another one may answer
        instead."""
        try:
            answer = httpx.get(f"{self.variables['AGENTLM_URL']}/v1/models", trust_env=False)
            listed = {entry["id"] for entry in answer.json()["data"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False
        return model in listed and self._server is not None and self._server.poll() is None

    def _start(
        self, words: Sequence[str], output: BinaryIO | None = None
    ) -> subprocess.Popen[bytes]:
        # What the user has set for other work must not affect the measurements.
        kept = {name: it for name, it in os.environ.items() if not name.startswith("AGENTLM_")}
        return subprocess.Popen(
            [sys.executable, "-m", "agentlm.cli", *words],
            cwd=self._working_directory,
            env=kept | self.variables,
            pass_fds=(self._keeps_open,),
            preexec_fn=_die_with_parent,
            stdout=output,
            stderr=output,
        )


def typed(words: Sequence[str]) -> str:
    """A command as a person would type it."""
    return shlex.join([PROGRAM, *words])


def exported(variables: Mapping[str, str]) -> str:
    """Variables as a person sets them."""
    return "export " + " ".join(f"{key}={shlex.quote(it)}" for key, it in variables.items())


def tell(text: str) -> None:
    """Print at once, also if stdout is a file."""
    say(text, sys.stderr)
    sys.stderr.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_ENDED_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    """Runs in a child before its program starts."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
