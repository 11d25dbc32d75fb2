"""`agentlm keys` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlm.cli import main
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry
from agentlm.store import Store

Keys = Callable[..., tuple[int, str, str]]


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Keys:
    def run(*argv: str) -> tuple[int, str, str]:
        code = main(["keys", *argv, "--data-dir", str(tmp_path)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_key_is_created_with_what_it_may_do(keys: Keys, tmp_path: Path) -> None:
    code, secret, _ = keys(
        *("create", "guests", "--log", "metadata", "--no-may-train"),
        *("--tools", "sql,web", "--requests-per-minute", "60"),
    )

    assert code == 0
    store = Store.open(f"sqlite:///{tmp_path / 'agentlm.db'}")
    key = store.keys.find(secret.strip())
    store.close()
    assert key is not None
    assert (key.name, key.log, key.may_train, key.admin) == ("guests", "metadata", False, False)
    assert (key.tools, key.requests_per_minute) == (("sql", "web"), 60)
    assert not key.may_decide


def test_keys_are_listed_without_their_secrets(keys: Keys) -> None:
    _, secret, _ = keys("create", "ann", "--admin")
    keys("create", "bob", "--may-decide")

    _, table, _ = keys("list")
    listed = [json.loads(line) for line in keys("list", "--json")[1].splitlines()]

    assert "ann" in table
    assert "admin" in table
    assert "decides" in table
    assert secret.strip() not in table
    assert [(key["name"], key["tools"]) for key in listed] == [("ann", None), ("bob", None)]
    assert [key["may_decide"] for key in listed] == [False, True]


def test_a_revoked_key_stays_revoked(keys: Keys) -> None:
    keys("create", "ann")

    assert keys("revoke", "ann") == (0, "ann is revoked\n", "")
    assert "revoked" in keys("list")[1]
    assert keys("revoke", "ann") == (2, "", "agentlm: there is no valid key named ann\n")
    code, _, errors = keys("create", "ann")
    assert code == 2
    assert errors == "agentlm: there is or was a key named 'ann'\n"


@pytest.mark.parametrize("argv", [["create", ""], ["create", "a", "--requests-per-minute", "0"]])
def test_what_makes_no_key_is_one_line(keys: Keys, argv: list[str]) -> None:
    code, output, why = keys(*argv)

    assert code == 2
    assert output == ""
    assert len(why.splitlines()) == 1


@pytest.mark.parametrize("name", ["default", "local"])
def test_a_key_can_not_own_what_a_server_without_it_does(keys: Keys, name: str) -> None:
    code, secret, errors = keys("create", name)

    assert (code, secret) == (2, "")
    assert f"{name!r} is the owner of" in errors
    assert len(errors.splitlines()) == 1


def test_the_first_key_says_that_a_running_server_does_not_know_of_it(keys: Keys) -> None:
    messages = [keys("create", name)[2] for name in ("ann", "bob")]

    assert ["restart" in message for message in messages] == [True, False]


def test_the_hint_of_a_server_that_asks_for_a_key_shows_how_to_give_it(
    keys: Keys, tmp_path: Path
) -> None:
    Registry(tmp_path).add(ModelCard(name="far", source="upstream", location="http://127.0.0.1:9"))
    keys("create", "ann")
    serve = [sys.executable, "-m", "agentlm.cli", "serve", "--model", "far", "--port", "0"]
    options = ["--tools", "sql", "--data-dir", str(tmp_path)]
    with subprocess.Popen([*serve, *options], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        hint = "".join(iter(server.stdout.readline, "for chunk in stream:\n"))
        server.terminate()

    assert "Bearer $AGENTLM_API_KEY" in hint
    assert 'api_key="none"' not in hint
