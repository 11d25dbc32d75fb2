"""What vLLM's processes are started with."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from agentlm.errors import OperatorError
from agentlm.server.vllm import flags
from agentlm.server.vllm.flags import check_known, check_written, chosen, command_line
from agentlm.server.vllm.launch import (
    model_width,
    one_process,
    prepare_environment,
    process_variables,
    starting,
)


def test_what_the_user_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"VLLM_LOGGING_LEVEL": "INFO"}
    monkeypatch.setenv("LD_PRELOAD", "mine.so")

    prepare_environment(environ)
    with starting({"LD_PRELOAD": "ours.so"}):
        preloaded = os.environ["LD_PRELOAD"]

    assert environ["VLLM_LOGGING_LEVEL"] == "INFO"
    assert environ["VLLM_NO_USAGE_STATS"] == "1"
    assert preloaded == "mine.so"


def test_only_vllms_processes_get_its_variables() -> None:
    before = dict(os.environ)

    with starting({"TEST_OF_STARTING": "1"}):
        inside = dict(os.environ)

    assert inside == before | {"TEST_OF_STARTING": "1"}
    assert dict(os.environ) == before


def test_a_few_cores_all_compute_in_one_process() -> None:
    variables = one_process({1, 0}, threads=2)

    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["KMP_AFFINITY"].endswith("proclist=[0,1]")


def test_a_gpu_and_several_workers_are_left_to_vllm() -> None:
    several = process_variables(cpu=True, eager=True, workers=2, width=576)
    gpu = process_variables(cpu=False, eager=False, workers=1, width=576)

    assert "OMP_NUM_THREADS" not in several
    assert gpu.keys() == {"PYTHONWARNINGS", "TORCH_CPP_LOG_LEVEL", "AGENTLM_SERVER_PROCESS"}


@pytest.mark.parametrize(("width", "threads"), [(64, 1), (576, 2)])
def test_a_narrow_model_is_computed_by_one_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, width: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": width}))

    variables = process_variables(cpu=True, eager=True, workers=1, width=model_width(tmp_path))

    assert variables["OMP_NUM_THREADS"] == str(threads)


def test_a_gpu_gets_none_of_the_cpus_flags(chatml_llama: Path) -> None:
    ours = {"--enforce-eager", "--kv-cache-memory-bytes"}
    assert chosen(chatml_llama, 0, None, cpu=True).keys() >= ours
    assert chosen(chatml_llama, 0, None, cpu=False).keys().isdisjoint(ours)


def test_a_cache_that_the_user_gives_is_not_chosen(chatml_llama: Path) -> None:
    arguments = ["--kv_cache_memory_bytes", "1000000"]
    assert "--kv-cache-memory-bytes" not in chosen(chatml_llama, 0, None, arguments, cpu=True)


def test_a_given_flag_takes_the_place_of_the_chosen_one() -> None:
    ours = {"--dtype": "float32", "--seed": "0", "--enforce-eager": ""}

    assert command_line(ours, ["--dtype=auto", "--max_num_seqs", "3"]) == [
        *("--seed", "0", "--enforce-eager"),
        *("--dtype=auto", "--max_num_seqs", "3"),
    ]


def test_an_unknown_flag_names_the_nearest() -> None:
    known = ["--max-num-seqs", "--structured-outputs-config", "--dtype"]

    check_known(["--max_num_seqs=3", "--structured-outputs-config.backend", "auto"], known)
    with pytest.raises(OperatorError, match="did you mean --max-num-seqs"):
        check_known(["--max-num-seq", "3"], known)


def test_flags_are_known_from_vllms_source(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(sys.modules)
    check_written(["--max-num-seqs", "3", "--no-enable-lora", "--speculative-config.method=x"])
    with pytest.raises(OperatorError, match="did you mean --max-num-seqs"):
        check_written(["--max-num-seq", "3"])
    assert "vllm" not in set(sys.modules) - before


def test_a_server_without_vllm_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="vllm"):
        check_written([])
