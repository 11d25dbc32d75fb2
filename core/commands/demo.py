"""`agentlm demo`: one turn of the loop, with each command printed before it runs.

A server is started, acts, is corrected, and a successor is trained on the correction and answers
the same question. One row is learned by heart: this shows the way, not what training is worth.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from httpx import Client

from agentlm.errors import OperatorError
from agentlm.files import write_text
from agentlm.printable import say
from agentlm.remote import connect, send
from agentlm.settings import Settings, parse

TASK = "How many files are in /usr/bin? Use bash."
QUESTION = "What is AgentLM?"
RIGHT = "AgentLM serves an agent model, records what it does, and trains its successor from that."
SUCCESSOR = "demo-successor"
_MARK = ".agentlm-demo"
_SERVED = " is served at "


class DemoSettings(Settings):
    """Show the loop once: serve, act, correct, train, publish, compare. It takes a few minutes.

    Everything is kept in the directory `demo` of the data directory, which each demo begins anew.
    """

    model: str = "smollm2-135m"
    """The model to begin with."""
    max_steps: int = 16
    """Steps of training on the one row."""


def main(argv: Sequence[str]) -> int:
    """Entry point of `agentlm demo`."""
    settings = parse(DemoSettings, argv, "agentlm demo")
    started = time.monotonic()
    directory = _fresh(settings.prepare_data_dir() / "demo")
    _title("serve", "a model behind OpenAI's API, with tools and a log")
    with _serving(settings.model, directory) as url, connect(url, None) as client:
        turn_the_loop(client, settings.model, _trained(settings, directory, url))
    minutes = (time.monotonic() - started) / 60
    say(f"\nThat took {minutes:.1f} minutes. Look at what was recorded:")
    say(f"  agentlm logs list --data-dir {shlex.quote(str(directory))}")
    return 0


def turn_the_loop(client: Client, model: str, train: Sequence[str]) -> None:
    """What comes once a server answers; `train` is the command that trains and publishes."""
    _title("act", "the server runs what the model calls, in a sandbox")
    acted = _ask(client, model, TASK, tools=[{"type": "bash"}])
    for step in acted["agent_steps"]:
        say(f"  bash {step['arguments']}\n  → {_short(step['observation'])}")
    say(f"  {model}: {_short(acted['content'])}")

    _title("correct", "say what would have been right")
    before = _ask(client, model, QUESTION)
    path = f"/v1/trajectories/{before['id']}/feedback"
    send(client, "POST", path, {"correction": RIGHT})
    say(f"  {QUESTION}\n  {model}: {_short(before['content'])}\n  right: {RIGHT}")

    _title("train and publish", "from the log; nothing was exported")
    _run(train)

    _title("compare", "the same question, once more")
    for name in (model, SUCCESSOR):
        say(f"  {name}: {_short(_ask(client, name, QUESTION)['content'])}")
    say("  (One row, learned by heart. Skills take hundreds of rows: docs/results.md.)")


def _ask(client: Client, model: str, question: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    answer = send(
        client,
        "POST",
        "/v1/chat/completions",
        {**body, "temperature": 0, "max_tokens": 160 if more else 60, **more},
    )
    message = answer["choices"][0]["message"]
    return {"id": answer["id"], "content": message["content"] or "", "agent_steps": []} | {
        name: value for name, value in message.items() if name == "agent_steps" and value
    }


def _trained(settings: DemoSettings, directory: Path, url: str) -> list[str]:
    command = ["finetune", "--from-logs", "--base", settings.model, "--name", SUCCESSOR]
    command += ["--max-steps", str(settings.max_steps), "--batch-size", "1", "--lr", "1e-3"]
    return [*command, "--publish", url, "--data-dir", str(directory)]


@contextmanager
def _serving(model: str, directory: Path) -> Iterator[str]:
    """The URL of a server on a free port, which ends with the block."""
    flags = ["--model", model, "--port", "0", "--data-dir", str(directory), "--tools", "bash"]
    flags += ["--max-turns", "3", "--max-turn-tokens", "128", "--max-model-len", "2048"]
    command = _shown(["serve", *flags])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield _address(server)
        finally:
            server.terminate()
            server.communicate()


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        if _SERVED in line:
            return line.partition(_SERVED)[2].split()[0]
    raise OperatorError("the server ended before it answered: its last lines above say why")


def _run(arguments: Sequence[str]) -> None:
    code = subprocess.run(_shown(arguments), check=False).returncode
    if code:
        raise OperatorError(f"agentlm {arguments[0]} ended with {code}: its lines above say why")


def _shown(arguments: Sequence[str]) -> list[str]:
    """The command as a process is started by it, after it was printed as a person types it."""
    say(f"  $ {shlex.join(['agentlm', *arguments])}")
    sys.stdout.flush()
    return [sys.executable, "-m", "agentlm.cli", *arguments]


def _title(stage: str, about: str) -> None:
    say(f"\n{stage}: {about}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]} …"


def _fresh(directory: Path) -> Path:
    """The directory, empty. Raises OperatorError if it is anything but an earlier demo's."""
    if directory.exists() and not (directory / _MARK).exists():
        raise OperatorError(f"{directory} is not an earlier demo's; give another --data-dir")
    shutil.rmtree(directory, ignore_errors=True)
    write_text(directory / _MARK, "")
    return directory
