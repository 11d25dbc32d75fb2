"""How likely a prompt is by vLLM, beside transformers on the same weights."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.real,
    # vLLM leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def test_prompts_at_once_are_as_likely_as_transformers_says(chatml_llama: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from agentlm.server.vllm.engine import VLLMEngine

    ids = list(range(10, 60))
    engine = await VLLMEngine.start(
        chatml_llama, weights_version="w0", arguments=["--dtype", "float32", "--enable-lora"]
    )
    try:
        asked = [engine.score(prompt, top_logprobs=2) for prompt in (ids, ids[:30], ids[5:])]
        scored, *_ = await asyncio.gather(*asked)
    finally:
        await engine.close()
    network = AutoModelForCausalLM.from_pretrained(chatml_llama, dtype=torch.float32)
    with torch.no_grad():
        expected = network(torch.tensor([ids])).logits[0].log_softmax(-1)

    assert scored[0] == []
    assert [each[0].token_id for each in scored[1:]] == ids[1:]
    for position, each in enumerate(scored[1:]):
        assert each[0].logprob == pytest.approx(
            expected[position, ids[position + 1]].item(), abs=1e-3
        )
        assert each[1].token_id == expected[position].argmax().item()
