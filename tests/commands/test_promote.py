"""A model gets the name that traffic uses when the gate has passed it, and gives it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlm.cli import main
from agentlm.errors import ConflictError, RequestError
from agentlm.models.aliases import Aliases
from agentlm.models.cards import ModelCard
from agentlm.models.registry import Registry

Models = Callable[..., tuple[int, str]]


@pytest.fixture
def models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Models:
    def run(*argv: str) -> tuple[int, str]:
        code = main(["models", *argv, "--data-dir", str(tmp_path)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture
def trained(tmp_path: Path, chatml_llama: Path) -> Callable[..., None]:
    """Register a model as a run leaves it; `beside` is what the gate measured it with."""
    registry = Registry(tmp_path)
    registry.add(ModelCard(name="tiny", source="local", location=str(chatml_llama)))

    def register(name: str, *, beside: str | None = "tiny", failed: tuple[str, ...] = ()) -> None:
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        if beside is not None:
            verdict = {"candidate": name, "incumbent": beside, "passed": not failed, "gain": 0.1}
            (run / "gate.json").write_text(json.dumps(verdict | {"reasons": failed}))
        card = {"name": name, "parent": "tiny", "training": {"run": str(run)}}
        registry.add(ModelCard(source="local", location=str(chatml_llama), **card))

    return register


def test_what_the_gate_passed_is_promoted_and_rolled_back(
    models: Models, trained: Callable[..., None], tmp_path: Path
) -> None:
    trained("one")
    trained("two", beside="one")

    outputs = [models("promote", name)[1] for name in ("tiny", "one", "two")]
    assert Registry(tmp_path).get("production").name == "two"
    outputs += [models("rollback")[1] for _ in range(2)]

    assert outputs == [
        "production is now tiny\n",
        "production is now one, before tiny\n",
        "production is now two, before one\n",
        "production is now one, before two\n",
        "production is now tiny, before one\n",
    ]
    assert models("rollback") == (
        2,
        "agentlm: nothing to go back to for production: only tiny ever had it\n",
    )
    assert len(Aliases(tmp_path).history("production")) == 5
    assert ["production", "alias", "tiny"] in [
        line.split() for line in models("list")[1].splitlines()
    ]


def test_what_the_gate_did_not_pass_is_refused_with_its_reasons(
    models: Models, trained: Callable[..., None], tmp_path: Path
) -> None:
    models("promote", "smollm2-135m")
    trained("worse", beside="smollm2-135m", failed=("db: -20.0%", "over all, -10.0%"))
    trained("other")
    trained("unmeasured", beside=None)

    code, output = models("promote", "worse")
    assert code == 2
    assert output.splitlines() == [
        "agentlm: worse is not promoted:",
        "agentlm:   the gate: db: -20.0%",
        "agentlm:   the gate: over all, -10.0%",
    ]
    assert "beside tiny, not beside smollm2-135m" in models("promote", "other")[1]
    assert "has not measured it" in models("promote", "unmeasured")[1]
    assert Aliases(tmp_path).card("production") == "smollm2-135m"

    assert models("promote", "worse", "--force", "a demonstration")[0] == 0
    forced = Aliases(tmp_path).history("production")[-1]
    assert (forced.card, forced.forced) == ("worse", "a demonstration")


def test_nothing_goes_back_to_a_model_that_was_removed(
    models: Models, trained: Callable[..., None], tmp_path: Path
) -> None:
    trained("one")
    for argv in (("promote", "tiny"), ("promote", "one"), ("remove", "tiny")):
        assert models(*argv)[0] == 0

    code, output = models("rollback")

    assert code == 2
    assert "production can't go back to tiny, which was removed" in output
    assert Aliases(tmp_path).card("production") == "one"


def test_a_server_that_can_not_switch_leaves_the_alias_as_it_was(
    models: Models, trained: Callable[..., None], tmp_path: Path
) -> None:
    models("promote", "tiny")
    trained("one")

    code, output = models("promote", "one", "--publish", "http://127.0.0.1:1")

    assert code == 2
    assert "can't be reached" in output
    assert Aliases(tmp_path).card("production") == "tiny"


def test_what_was_promoted_before_the_power_went_is_promoted_once(
    models: Models, trained: Callable[..., None], tmp_path: Path
) -> None:
    models("promote", "tiny")

    assert models("promote", "tiny") == (0, "production is tiny already\n")
    assert len(Aliases(tmp_path).history("production")) == 1
    code, output = models("promote", "tiny", "--publish", "http://127.0.0.1:1")
    assert code == 2
    assert "can't be reached" in output


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("promote", "tiny", "--alias", "smollm2-135m"), "is a model: choose another"),
        (("promote", "tiny", "--alias", "../x"), "--alias: String should match pattern"),
        (("promote", "tine"), "did you mean tiny"),
        (("rollback", "--alias", "x"), "nothing to go back to for x: there is no such alias"),
        (("remove", "tiny"), "production points to tiny"),
    ],
)
def test_what_can_not_be_is_said(
    models: Models, trained: Callable[..., None], argv: tuple[str, ...], message: str
) -> None:
    models("promote", "tiny")

    code, printed = models(*argv)

    assert code == 2
    assert message in printed


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("ft:tiny::mine:abc123", True),
        ("ft:tiny:::abc123", True),
        ("ft:tiny::mine:agent", False),
        ("ft:../x::mine:abc123", False),
        ("ft:tiny::a/b:abc123", False),
        ("tiny:agent", False),
        ("production", False),
    ],
)
def test_names_of_fine_tuned_models_are_no_paths(
    models: Models, trained: Callable[..., None], tmp_path: Path, name: str, fits: bool
) -> None:
    models("promote", "tiny")
    registry = Registry(tmp_path)
    card = registry.get("tiny").model_copy(update={"name": name})

    if fits:
        registry.add(card)
        assert registry.get(name).name == name
    else:
        with pytest.raises((RequestError, ConflictError)):
            registry.add(card)
