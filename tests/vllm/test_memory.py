"""What of a machine's memory a CPU engine takes, and what is said before it is too little."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentlm.errors import OperatorError
from agentlm.server.vllm.memory import (
    PROGRAM,
    Needs,
    free_memory,
    has_native_bfloat16,
    number_bytes,
    sets_cache_size,
)

GIB = 1 << 30
SMOLLM2 = {
    "dtype": "float32",
    "hidden_size": 576,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
}


def model(directory: Path, weights: int = 1000, **changes: object) -> Path:
    (directory / "config.json").write_text(json.dumps(SMOLLM2 | changes))
    with (directory / "model.safetensors").open("wb") as file:
        file.truncate(weights)
    return directory


def test_a_token_takes_keys_and_values_of_every_layer(tmp_path: Path) -> None:
    needs = Needs.of(model(tmp_path), None, 4)
    assert (needs.token, needs.context, needs.weights) == (2 * 30 * 3 * 64 * 4, 8192, 1000)
    assert Needs.of(tmp_path, 1024, 2).context == 1024
    assert Needs.of(tmp_path, None, 2).weights == 500


def test_half_precision_weights_are_widened_but_quantized_ones_are_not(tmp_path: Path) -> None:
    assert Needs.of(model(tmp_path, dtype="bfloat16"), None, 4).weights == 2000
    assert Needs.of(model(tmp_path, quantization_config={"bits": 4}), None, 4).weights == 1000


@pytest.mark.parametrize("free_gib", [3, 4, 24, 1000])
def test_the_cache_holds_a_context_and_never_more_than_half_of_what_is_left(
    tmp_path: Path, free_gib: int
) -> None:
    needs = Needs.of(model(tmp_path, 540_000_000), None, 4)
    needs.check(free_gib * GIB)
    left = free_gib * GIB - needs.weights - PROGRAM
    one = 8192 * (needs.token or 0)
    assert one < needs.cache(free_gib * GIB) <= max(left // 2, one + GIB // 20)
    assert needs.cache(free_gib * GIB) < 1.2 * GIB


@pytest.mark.parametrize(
    ("changes", "advice"),
    [({"max_position_embeddings": 131_072}, r"--max-model-len \d+$"), ({}, "by --model$")],
)
def test_too_little_memory_is_one_line_that_names_the_flag(
    tmp_path: Path, changes: dict[str, object], advice: str
) -> None:
    weights = 1000 if changes else 8 * GIB
    with pytest.raises(
        OperatorError, match=f"not enough memory: 4.0 GiB are free .*{advice}"
    ) as it:
        Needs.of(model(tmp_path, weights, **changes), None, 4).check(4 * GIB)
    assert "\n" not in str(it.value)


def test_the_context_that_is_advised_fits(tmp_path: Path) -> None:
    needs = Needs.of(model(tmp_path, max_position_embeddings=1 << 20), None, 4)
    with pytest.raises(OperatorError) as refused:
        needs.check(4 * GIB)
    shorter = int(str(refused.value).split()[-1])
    Needs.of(tmp_path, shorter, 4).check(4 * GIB)


def test_a_model_whose_layers_keep_something_else_is_not_refused(tmp_path: Path) -> None:
    needs = Needs.of(model(tmp_path, sliding_window=4096), None, 4)
    needs.check(GIB)
    assert needs.cache(GIB) > 0
    assert needs.cache(100 * GIB) == 4 * GIB


def test_free_is_what_the_machine_and_the_container_have_free(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n")
    assert free_memory(meminfo, tmp_path) == 4 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(meminfo, tmp_path) == 4 * GIB
    (tmp_path / "memory.max").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{2 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    assert free_memory(meminfo, tmp_path) == 2 * GIB


@pytest.mark.parametrize(
    ("arguments", "environ", "is_set"),
    [
        ([], {}, False),
        (["--dtype", "auto"], {}, False),
        (["--kv_cache_memory_bytes=5"], {}, True),
        (["--kv-cache-memory-bytes", "5"], {}, True),
        ([], {"VLLM_CPU_KVCACHE_SPACE": "1"}, True),
    ],
)
def test_who_says_how_much_the_cache_takes_is_believed(
    arguments: list[str], environ: dict[str, str], *, is_set: bool
) -> None:
    assert sets_cache_size(arguments, environ) == is_set


def test_numbers_are_as_wide_as_asked(tmp_path: Path) -> None:
    model(tmp_path, dtype="bfloat16")
    assert number_bytes(tmp_path, ["--dtype=half"]) == 2
    assert number_bytes(tmp_path, ["--dtype", "float32"]) == 4
    assert number_bytes(tmp_path, ["--dtype", "auto"]) == 2


def test_bfloat16_is_a_flag_of_the_processor() -> None:
    assert has_native_bfloat16("flags\t: fpu avx2 avx512_bf16")
    assert not has_native_bfloat16("flags\t: fpu avx2 avx512f")
