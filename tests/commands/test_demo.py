"""`agentlm demo`: what it types is understood, what it asks for is done, and it deletes no data."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentlm.commands import demo
from agentlm.errors import OperatorError
from agentlm.finetune.settings import FinetuneSettings
from agentlm.remote import connect
from agentlm.server.settings import ServeSettings
from agentlm.settings import parse
from support.serving import Serve


async def test_a_turn_of_the_loop_acts_corrects_trains_and_asks_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed: list[Any] = []
    monkeypatch.setattr(demo, "_run", typed.append)
    monkeypatch.setattr(demo, "SUCCESSOR", "tiny")
    call = 'Thought: Look.\nAction: bash\nAction Input: {"command": "ls"}'

    async with serve(call, "Final Answer: 7", "No idea.", "No idea.", demo.RIGHT) as running:
        with connect(running.url, None) as client:
            await asyncio.to_thread(demo.turn_the_loop, client, "tiny", ["finetune"])
        acted, corrected, *_ = running.trajectories()

    assert typed == [["finetune"]]
    assert any(step.call for step in acted.steps)
    assert [one.correction for one in corrected.feedback] == [demo.RIGHT]
    output = capsys.readouterr().out
    assert '  bash {"command": "ls"}' in output
    assert f"tiny: {demo.RIGHT}" in output.partition("compare")[2]


def test_the_commands_of_a_demo_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = demo.DemoSettings(data_dir=tmp_path)
    train = demo._trained(settings, tmp_path, "http://localhost:1")
    parse(FinetuneSettings, train[1:], "agentlm finetune").check()

    monkeypatch.setattr(demo.sys, "executable", "false")
    with (
        pytest.raises(OperatorError, match="ended before it answered"),
        demo._serving("m", tmp_path),
    ):
        pass
    typed = capsys.readouterr().out.split()
    assert typed[:3] == ["$", "agentlm", "serve"]
    assert parse(ServeSettings, typed[3:], "agentlm serve").max_model_len == 2048


def test_a_demo_deletes_nothing_but_an_earlier_demo(tmp_path: Path) -> None:
    directory = demo._fresh(tmp_path / "demo")
    (directory / "log").touch()
    assert not (demo._fresh(directory) / "log").exists()

    (tmp_path / "mine").mkdir()
    with pytest.raises(OperatorError, match="not an earlier demo's"):
        demo._fresh(tmp_path / "mine")
