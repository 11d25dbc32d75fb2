"""Chat's example tasks are ones that the model which is asked solves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentlm.models.cards import BUILT_IN
from support.model_server import serving

SOURCE = Path(__file__).parents[2] / "server/ui/src/pages/chat/examples.json"
EXAMPLES: dict[str, list[dict[str, Any]]] = json.loads(SOURCE.read_text())


def test_each_model_that_needs_no_hub_has_three() -> None:
    names = [card.name for card in BUILT_IN.values() if card.source == "package"]
    assert {name: len(examples) for name, examples in EXAMPLES.items()} == dict.fromkeys(names, 3)


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


def asked(url: str, model: str, example: dict[str, Any]) -> dict[str, Any]:
    """As the page asks it."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": example["text"]}],
        "temperature": 0,
        "tools": [{"type": name} for name in example["tools"]],
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=300)
    answer.raise_for_status()
    [choice] = answer.json()["choices"]
    return dict(choice)
