"""Chat's example tasks are ones that the model which is asked solves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.models.cards import BUILT_IN
from agentlm.server.serving import snippet
from support.model_server import serving

SOURCE = Path(__file__).parents[2] / "server/ui/src/pages/chat/examples.json"
EXAMPLES: dict[str, list[dict[str, Any]]] = json.loads(SOURCE.read_text())


MARGIN = 1.0
"""How much likelier, in nats, each token of a plain answer is than the next best. bfloat16 counts
logits of this size in eighths, and another processor's order of adding is worth one or two. Runs
with tools are of a hundred tokens; no question was found for which every one had this margin."""


def test_each_model_that_needs_no_hub_has_three() -> None:
    names = [card.name for card in BUILT_IN.values() if card.source == "package"]
    assert {name: len(examples) for name, examples in EXAMPLES.items()} == dict.fromkeys(names, 3)


def test_the_first_of_them_is_what_the_pages_and_the_server_offer_to_paste() -> None:
    first = EXAMPLES["smollm2-135m"][0]["text"]
    pages = [(SOURCE.parents[5] / name).read_text() for name in ("README.md", "docs/quickstart.md")]
    assert all(first in text for text in (*pages, snippet("http://x", "m", keyed=False)))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", EXAMPLES)
def test_a_model_solves_its_three(tmp_path: Path, model: str) -> None:
    with serving(tmp_path, model) as url:
        for example in EXAMPLES[model]:
            answer = asked(url, model, example)
            assert answer["finish_reason"] == "stop"
            assert re.search(rf"\b{re.escape(example['answer'])}\b", answer["message"]["content"])
            assert bool(answer["message"].get("agent_steps")) == bool(example["tools"])
            if not example["tools"]:
                assert smallest_margin(answer) >= MARGIN


def smallest_margin(answer: dict[str, Any]) -> float:
    """Between the likeliest two tokens, over an answer."""
    return min(
        best["logprob"] - second["logprob"]
        for token in answer["logprobs"]["content"]
        for best, second in [token["top_logprobs"]]
    )


def asked(url: str, model: str, example: dict[str, Any]) -> dict[str, Any]:
    """As the page asks it."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": example["text"]}],
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
        "tools": [{"type": name} for name in example["tools"]],
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=300)
    answer.raise_for_status()
    [choice] = answer.json()["choices"]
    return dict(choice)
