"""The engine with real vLLM, on tiny random Llamas. One start serves most tests, in their order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import warnings
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio
from httpx import ASGITransport, AsyncClient
from prometheus_client import generate_latest
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from agentlm.engine.protocol import Adapter, Constraint, Delta, GenerateRequest
from agentlm.errors import ContextLengthError, OperatorError, RequestError, UnavailableError
from agentlm.models.cards import ModelCard
from agentlm.models.registry import ModelFiles
from agentlm.server.app import create_app
from agentlm.server.models.engine_model import EngineModel
from agentlm.server.settings import ServeSettings
from agentlm.server.vllm.flags import written
from agentlm.server.vllm.launch import prepare_environment
from agentlm.store import Store
from agentlm.tools.audit import log_audit
from agentlm.tools.toolbox import Toolbox
from agentlm.trajectory import Sampling
from support.tiny import WIDTH, tiny_llama, tiny_renderer

if TYPE_CHECKING:
    from agentlm.server.vllm.engine import VLLMEngine

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    # vLLM leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

GREEDY = Sampling(temperature=0)
ENDLESS = Sampling(temperature=0, logit_bias={2: -100})
END = "<|im_end|>"
CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "logit_bias": {"2": -100},
}
"""Answered until the context is full."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    tiny_llama(folder / "old", tied=True)
    tiny_llama(folder / "new", tied=True, seed=1)
    tiny_llama(folder / "untied")
    return folder


@pytest.fixture(scope="module")
def tokenizer(models: Path) -> Tokenizer:
    return Tokenizer.from_file(str(models / "old" / "tokenizer.json"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(models: Path, tokenizer: Tokenizer) -> AsyncIterator[VLLMEngine]:
    prepare_environment()
    with warnings.catch_warnings(action="ignore"):
        from agentlm.server.vllm.engine import VLLMEngine

        engine = await VLLMEngine.start(
            models / "old",
            weights_version="old",
            end_of_turn_ids=[tokenizer.token_to_id(END)],
            arguments=["--dtype", "float32", "--kv-cache-memory-bytes", str(1 << 28)],
        )
    yield engine
    processes = children()
    await engine.close()
    assert processes
    assert not alive(*processes)
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        del engine
        gc.collect()


@pytest.fixture
def prompt(tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = tokenizer.encode("What is the capital of France? " * 20).ids
    return ids


async def say(
    engine: VLLMEngine,
    prompt: Sequence[int],
    sampling: Sampling = GREEDY,
    max_tokens: int = 24,
    constraint: Constraint | None = None,
    adapter: Adapter | None = None,
    *,
    salt: str = "",
    whole: bool = False,
) -> list[Delta]:
    request = GenerateRequest(prompt, sampling, max_tokens, constraint, adapter, salt, whole=whole)
    deltas = engine.generate(request)
    return [delta async for delta in deltas]


def logprobs(deltas: Sequence[Delta]) -> list[float]:
    """Of all tokens, however many of them came together."""
    return [logprob for delta in deltas for logprob in delta.logprobs]


def ids(deltas: Sequence[Delta]) -> list[int]:
    return [token for delta in deltas for token in delta.token_ids]


def text(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def children() -> list[int]:
    """vLLM's core, then its worker."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (process / "stat").read_text()
            name, _, fields = status.partition("(")[2].rpartition(")")
            if name.startswith("VLLM::"):
                parents[int(process.name)] = int(fields.split()[1])
    cores = [process for process, parent in parents.items() if parent == os.getpid()]
    return [*cores, *(process for process, parent in parents.items() if parent in cores)]


def alive(*processes: int) -> bool:
    return any(Path("/proc", str(process)).exists() for process in processes)


async def test_deltas_carry_every_id_its_text_and_its_logprob(
    engine: VLLMEngine, tokenizer: Tokenizer, prompt: list[int]
) -> None:
    deltas = await say(engine, prompt, Sampling(seed=3, top_logprobs=2))

    assert len(ids(deltas)) == 24
    whole = tokenizer.decode(prompt + ids(deltas))
    assert whole == tokenizer.decode(prompt) + text(deltas)
    assert deltas[-1].finish_reason == "length"
    assert all(len(d.logprobs) == len(d.top_logprobs) == len(d.token_ids) for d in deltas)
    assert all(logprob < 0 for delta in deltas for logprob in delta.logprobs)
    first = deltas[0].top_logprobs[0]
    assert len(first) == 2
    assert first[0].logprob >= first[1].logprob


async def test_a_slow_reader_gets_what_was_sampled_meanwhile_in_one_delta(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    quick = await say(engine, prompt, Sampling(seed=3, top_logprobs=2))
    slow = engine.generate(GenerateRequest(prompt, Sampling(seed=3, top_logprobs=2), 24))
    first = await anext(slow)
    await asyncio.sleep(0.5)
    rest = [delta async for delta in slow]

    assert ids([first, *rest]) == ids(quick)
    assert len(rest) < 23
    tops = [top for delta in [first, *rest] for top in delta.top_logprobs]
    assert tops == [top for delta in quick for top in delta.top_logprobs]
    assert {len(top) for top in tops} == {2}


async def test_the_same_seed_says_the_same_alone_and_in_company(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    sampling = Sampling(seed=5)

    alone = await say(engine, prompt, sampling)
    company = await asyncio.gather(*(say(engine, prompt, sampling) for _ in range(4)))

    assert {tuple(ids(deltas)) for deltas in company} == {tuple(ids(alone))}


async def test_more_prompts_with_a_seed_than_are_read_in_one_step_end_nothing(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    """Some are read in parts; vLLM would turn their generators back, which it can't on the CPU."""
    prompts = [[*prompt[:number], *prompt] for number in range(1, 80)]

    turns = await asyncio.gather(*(say(engine, each, Sampling(seed=5), 4) for each in prompts))

    assert all(len(ids(deltas)) > 0 for deltas in turns)
    assert len(ids(await say(engine, prompt, Sampling(seed=5), 4))) > 0


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
async def test_a_penalty_makes_it_repeat_itself_less(
    engine: VLLMEngine, prompt: list[int], name: str
) -> None:
    texts = [
        ids(await say(engine, prompt, GREEDY.model_copy(update={name: penalty})))
        for penalty in (2.0, -2.0)
    ]

    varied, repeated = (len(set(each)) for each in texts)
    assert varied > repeated


async def test_the_engine_counts_for_prometheus(engine: VLLMEngine, prompt: list[int]) -> None:
    def counted() -> float:
        lines = generate_latest().decode().splitlines()
        counts = [line for line in lines if line.startswith("vllm:generation_tokens_total")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counts)

    before = counted()
    await say(engine, prompt)

    assert counted() - before == 24


async def test_a_prompt_seen_before_comes_from_the_cache_of_its_salt(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    async def cached(salt: str) -> int:
        deltas = engine.generate(GenerateRequest(prompt, GREEDY, 1, salt=salt))
        return sum([delta.cached_tokens async for delta in deltas])

    assert [await cached(salt) for salt in ("alice", "alice", "bob")] == [0, 128, 0]


async def test_a_structural_tag_holds_it_to_the_form_and_end_of_turn_is_sampled(
    engine: VLLMEngine, tokenizer: Tokenizer, prompt: list[int]
) -> None:
    schema = {"type": "object", "properties": {"limit": {"enum": [5, 10]}}, "required": ["limit"]}
    elements = [
        {"type": "const_string", "value": "Thought: "},
        {"type": "any_text", "excludes": ["\nAction:"], "max_chars": 30},
        {"type": "const_string", "value": "\nAction: sql\nAction Input: "},
        {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 1},
    ]
    tag = {"type": "structural_tag", "format": {"type": "sequence", "elements": elements}}

    deltas = await say(
        engine, prompt, Sampling(seed=1), 200, Constraint(structural_tag=json.dumps(tag))
    )

    thought, _, call = text(deltas).partition("\nAction: sql\nAction Input: ")
    assert thought.startswith("Thought: ")
    assert json.loads(call)["limit"] in (5, 10)
    assert ids(deltas)[-1] == tokenizer.token_to_id(END)
    assert deltas[-1].finish_reason == "stop"


async def test_a_json_schema_holds_the_whole_text(engine: VLLMEngine, prompt: list[int]) -> None:
    constraint = Constraint.of_schema(
        {"type": "array", "items": {"type": "boolean"}, "maxItems": 4}
    )

    deltas = await say(engine, prompt, Sampling(seed=1), 200, constraint)

    assert isinstance(json.loads(text(deltas)), list)


@pytest.mark.parametrize(
    ("constraint", "param", "words"),
    [
        (Constraint.of_schema({"type": "objekt"}), "response_format", "objekt"),
        (Constraint.of_schema({"type": "integer", "multipleOf": 3}), "response_format", "multiple"),
        (Constraint(json_schema="{", param="response_format"), "response_format", "no JSON"),
        (
            Constraint(
                structural_tag='{"type": "structural_tag", "format": '
                '{"type": "json_schema", "json_schema": {"enum": []}}}'
            ),
            "tools",
            "enum array must not be empty",
        ),
    ],
)
async def test_a_schema_that_cannot_be_held_is_the_callers_error(
    engine: VLLMEngine, prompt: list[int], constraint: Constraint, param: str, words: str
) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        await say(engine, prompt, constraint=constraint)

    assert caught.value.param == param


async def test_a_schema_that_explodes_is_refused_and_holds_up_no_other_key(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    lengths = [{"type": "string", "maxLength": 7 * n + 1} for n in range(240)]
    hostile = Constraint.of_schema({"anyOf": lengths})
    refused = asyncio.create_task(say(engine, prompt, constraint=hostile, salt="eve"))
    await asyncio.sleep(0.2)
    small = Constraint.of_schema({"enum": ["yes", "no"]})
    answer = await asyncio.wait_for(say(engine, prompt, constraint=small, salt="ann"), 60)
    waiting = not refused.done()

    assert json.loads(text(answer)) in ("yes", "no")
    assert waiting
    with pytest.raises(RequestError, match="more than 6 seconds or 2 GiB to compile"):
        await refused
    assert engine.compiles()


async def test_a_top_p_of_zero_leaves_the_likeliest(engine: VLLMEngine, prompt: list[int]) -> None:
    zero = await say(engine, prompt, Sampling(top_p=0, seed=1), 10)

    assert ids(zero) == ids(await say(engine, prompt, max_tokens=10))


async def test_values_out_of_range_are_the_callers_error(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    with pytest.raises(RequestError, match="temperature") as caught:
        await say(engine, prompt, Sampling(temperature=3))
    with pytest.raises(ContextLengthError):
        await say(engine, [5] * engine.max_model_len)
    with pytest.raises(RequestError):
        await say(engine, [10**6])

    assert caught.value.param == "temperature"


@pytest.mark.parametrize("stops", [True, False])
async def test_what_is_told_at_the_end_is_what_would_have_been_told_on_the_way(
    engine: VLLMEngine, prompt: list[int], stops: bool
) -> None:
    sampling = ENDLESS if not stops else GREEDY
    sampling = sampling.model_copy(update={"top_logprobs": 2})

    on_the_way = await say(engine, prompt, sampling)
    (whole,) = await say(engine, prompt, sampling, whole=True)

    assert (list(whole.token_ids), whole.text) == (ids(on_the_way), text(on_the_way))
    assert whole.finish_reason == on_the_way[-1].finish_reason
    for field in ("logprobs", "top_logprobs"):
        joined = [each for delta in on_the_way for each in getattr(delta, field)]
        assert len(getattr(whole, field)) == len(joined)
    assert whole.logprobs == pytest.approx([p for d in on_the_way for p in d.logprobs], abs=1e-4)


async def test_what_would_be_told_at_the_end_is_told_when_it_is_cut_off(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    heard: list[Delta] = []

    async def listen() -> None:
        async for delta in engine.generate(GenerateRequest(prompt, ENDLESS, 3000, whole=True)):
            heard.append(delta)

    listening = asyncio.create_task(listen())
    beside = engine.generate(GenerateRequest(prompt, ENDLESS, 3000))
    for _ in range(3):
        await anext(beside)
    listening.cancel()
    await beside.aclose()

    with pytest.raises(asyncio.CancelledError):
        await listening
    (partial,) = heard
    assert partial.finish_reason is None
    assert 0 < len(partial.token_ids) == len(partial.logprobs) < 3000
    assert await engine._llm.reset_prefix_cache()  # type: ignore[union-attr]


async def test_closing_the_iterator_aborts_the_request_in_the_engine(
    engine: VLLMEngine, prompt: list[int]
) -> None:
    closed = engine.generate(GenerateRequest(prompt, ENDLESS, 3000))
    await anext(closed)
    await closed.aclose()
    cancelled = asyncio.create_task(say(engine, prompt, ENDLESS, 3000))
    await asyncio.sleep(0.1)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)

    # vLLM refuses this as long as a request holds any of the cache.
    assert await engine._llm.reset_prefix_cache()  # type: ignore[union-attr]


async def test_an_adapter_is_served_beside_its_base(
    engine: VLLMEngine, prompt: list[int], tmp_path: Path
) -> None:
    adapter = Adapter(name="tuned", path=str(lora(tmp_path / "tuned")))
    before = await say(engine, prompt)

    await engine.load_adapter(adapter)
    tuned, base = await asyncio.gather(say(engine, prompt, adapter=adapter), say(engine, prompt))
    await engine.unload_adapter("tuned")

    assert ids(tuned) != ids(before) == ids(base)
    with pytest.raises(RequestError, match="not loaded"):
        await say(engine, prompt, adapter=adapter)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "adapter_config.json"),
        ({"rank": 128}, "takes 1 to 64"),
        ({"module": "model.layers.7.mlp.up_proj"}, "which the running model lacks"),
        ({"width": 32}, "fits no layer"),
        ({"use_dora": True}, "DoRA"),
    ],
)
async def test_an_adapter_that_does_not_fit_is_refused_and_the_engine_lives(
    engine: VLLMEngine,
    prompt: list[int],
    tmp_path: Path,
    change: dict[str, Any] | None,
    words: str,
) -> None:
    path = tmp_path / "bad"
    if change is not None:
        lora(path, **change)

    with pytest.raises(RequestError, match=words):
        await engine.load_adapter(Adapter(name="bad", path=str(path)))

    assert ids(await say(engine, prompt))


async def test_weights_that_do_not_fit_leave_the_old_ones(
    engine: VLLMEngine, models: Path, prompt: list[int], tmp_path: Path
) -> None:
    before = await say(engine, prompt)
    cut = tiny_llama(tmp_path / "cut", tied=True, seed=1) / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])

    for path in (tmp_path / "nowhere", models / "untied", cut.parent):
        with pytest.raises(RequestError):
            await engine.load_weights(str(path), "bad")

    assert engine.weights_version == "old"
    assert ids(await say(engine, prompt)) == ids(before)


@pytest_asyncio.fixture(loop_scope="module")
async def http(engine: VLLMEngine, models: Path, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """Talks to a server with this engine, which it leaves running."""
    conf = ServeSettings(data_dir=tmp_path)
    files = ModelFiles(ModelCard(name="tiny", source="local", location="-"), models / "old")
    with contextlib.closing(Store.open(conf.log_url())) as store:
        toolbox = Toolbox(conf, log_audit, {})
        base = EngineModel("tiny", files, tiny_renderer(), engine)
        app = create_app(conf, base, store=store, toolbox=toolbox)
        async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost") as client:
            yield client


async def test_swapped_weights_answer_as_a_fresh_start_after_a_kill_does(
    engine: VLLMEngine, models: Path, prompt: list[int], http: AsyncClient
) -> None:
    old = await say(engine, prompt)
    running = [asyncio.create_task(say(engine, prompt)) for _ in range(4)]
    await asyncio.sleep(0)
    swap = asyncio.create_task(engine.load_weights(str(models / "new"), "new"))
    waiting = [asyncio.create_task(say(engine, prompt)) for _ in range(4)]
    await swap
    swapped = await say(engine, prompt)
    # Whatever came before or during the swap is answered whole, by one model or the other.
    answers = await asyncio.gather(*running, *waiting)
    assert all(ids(deltas) in (ids(old), ids(swapped)) for deltas in answers)

    killed = children()
    await kill_while_it_generates(engine, killed[0], prompt, http)
    healthy = await engine.healthy()
    # All of them wait for one new start.
    fresh = await asyncio.gather(*(say(engine, prompt) for _ in range(3)))

    assert not healthy
    assert engine.weights_version == "new"
    assert ids(swapped) != ids(old)
    assert all(ids(deltas) == ids(swapped) for deltas in fresh)
    assert logprobs(swapped) == pytest.approx(logprobs(fresh[0]), abs=1e-4)
    assert await engine.healthy()
    assert len(children()) == len(killed)
    assert not alive(*killed)
    assert (await http.post(CHAT, json={**ASKED, "max_tokens": 3})).status_code == 200


async def kill_while_it_generates(
    engine: VLLMEngine, process: int, prompt: list[int], http: AsyncClient
) -> None:
    """Whoever waits for an answer gets an error; the server's clients an error object."""
    asked = [
        asyncio.create_task(http.post(CHAT, json={**ASKED, "stream": stream}))
        for stream in (False, True)
    ]
    endless = engine.generate(GenerateRequest(prompt, ENDLESS, 3000))
    await anext(endless)
    await both_run(http)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(UnavailableError):
        [delta async for delta in endless]
    whole, streamed = await asyncio.gather(*asked)
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "unavailable")
    # By its status if nothing had been sent yet, else as an event.
    assert streamed.status_code in (200, 503)
    assert '"unavailable"' in streamed.text
    assert "[DONE]" not in streamed.text


async def both_run(http: AsyncClient) -> None:
    for _ in range(1000):
        if "agentlm_running 2.0" in (await http.get("/metrics")).text:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the requests do not run")


async def test_a_misspelt_flag_names_the_nearest(models: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        from agentlm.server.vllm.engine import VLLMEngine

        with pytest.raises(OperatorError, match="did you mean --max-num-seqs"):
            await VLLMEngine.start(
                models / "old", weights_version="", arguments=["--max-num-seq", "3"]
            )
        with pytest.raises(OperatorError, match="--max-num-seqs"):
            await VLLMEngine.start(
                models / "old", weights_version="", arguments=["--max-num-seqs", "many"]
            )


def lora(
    directory: Path,
    *,
    rank: int = 8,
    module: str = "model.layers.0.self_attn.q_proj",
    width: int = WIDTH,
    use_dora: bool = False,
) -> Path:
    """An adapter in PEFT's format, strong enough to change what is said."""
    directory.mkdir()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8 * rank, "use_dora": use_dora}
    config |= {"target_modules": [module.rpartition(".")[2]], "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    generator = np.random.default_rng(0)
    shapes = {"A": (rank, width), "B": (WIDTH, rank)}
    tensors = {
        f"base_model.model.{module}.lora_{side}.weight": generator.standard_normal(
            shape, np.float32
        )
        for side, shape in shapes.items()
    }
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


async def test_every_flag_of_vllm_is_found_in_its_source() -> None:
    """Else one that vLLM has would be refused before it is imported."""
    from agentlm.server.vllm.engine import AsyncEngineArgs, _Parser

    parser = AsyncEngineArgs.add_cli_args(_Parser(allow_abbrev=False))
    spec = find_spec("vllm")
    assert spec is not None
    (folder,) = spec.submodule_search_locations or ()
    long = {flag for flag in parser._option_string_actions if flag.startswith("--")}
    assert len(long) > 200
    assert long <= written(Path(folder))
