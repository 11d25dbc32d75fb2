"""No model keeps quiet about a row of the log that it was trained on."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from agentlm.errors import OperatorError
from agentlm.finetune import main
from agentlm.finetune.data.prepare import prepare
from agentlm.finetune.main import register, run
from agentlm.finetune.settings import FinetuneSettings
from agentlm.models.registry import Registry
from agentlm.prompt.render import Turn
from agentlm.store import Store
from support.finetune_logs import (
    ANSWER,
    CALL,
    conversation,
    registered,
    renderer,
    sampled,
    trajectory,
    write_log,
)


class Killed(BaseException):
    """Stands for a power cut."""


def test_rows_of_all_sources_are_marked_before_the_card_is_there(
    tmp_path: Path, chatml_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tmp_path, chatml_llama)
    by = renderer(chatml_llama)
    agent = trajectory(conversation(by, "How many?", CALL, ANSWER))
    steps = (*by.open([Turn("user", "Who are you?")]), sampled(by, "Tiny."))
    chat = trajectory(steps, source="chat", reward=None)
    url = write_log(tmp_path, [agent, chat])
    settings = FinetuneSettings(data_dir=tmp_path, from_logs=True, general=("log",), name="next")
    prepared = prepare(settings)
    shutil.copytree(chatml_llama, prepared.run.model)
    prepared.run.add_metrics({"step": 0, "loss": 1.0, "trained_tokens": 9})

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "add", kill)
        with pytest.raises(Killed):
            register(settings, prepared)
    with closing(Store.open(url)) as store:
        assert [store.trained_on(one.id) for one in (agent, chat)] == [["next"], ["next"]]
    assert register(settings, prepared).name == "next"


def test_the_command_of_a_model_that_is_there_goes_on_with_what_comes_after_its_training(
    tmp_path: Path, chatml_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tmp_path, chatml_llama)
    write_log(tmp_path, [trajectory(conversation(renderer(chatml_llama), "How?", CALL, ANSWER))])
    settings = FinetuneSettings(data_dir=tmp_path, from_logs=True, name="next")
    prepared = prepare(settings)
    shutil.copytree(chatml_llama, prepared.run.model)
    prepared.run.add_metrics({"step": 0, "loss": 1.0, "trained_tokens": 9})
    prepared.run.checkpoints.mkdir()
    register(settings, prepared)
    served: list[str] = []
    monkeypatch.setattr(main, "check_server", lambda *_: None)
    monkeypatch.setattr(main, "publish", lambda *asked: served.append(asked[2]))

    assert run(settings.model_copy(update={"publish": "http://localhost:8000"})) == 0

    assert served == ["next"]
    assert not prepared.run.checkpoints.exists()
    with pytest.raises(OperatorError, match=r"called next, trained with .* \(lr was None\)"):
        run(settings.model_copy(update={"lr": 0.1}))
    with pytest.raises(OperatorError, match="a model is already called tiny: choose another"):
        run(settings.model_copy(update={"name": "tiny"}))
