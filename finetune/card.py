"""The card of a trained model: its name and its origin."""

from __future__ import annotations

import hashlib
import json
import time

from agentlm.finetune.data.prepare import Prepared
from agentlm.models.cards import ModelCard
from agentlm.prompt.digest import prompt_digest


def successor_card(prepared: Prepared) -> ModelCard:
    """The base's card with the successor's changes: an adapter, or its own weights.

    The registry computes the digests from the files.
    """
    base, run = prepared.base, prepared.run
    changed = {
        "name": run.name,
        "parent": base.card.name,
        "created": time.time(),
        "training": _provenance(prepared),
        "prompt_digest": prompt_digest(thoughts=base.card.thoughts),
        "weights_version": None,
        "tokenizer_digest": None,
    }
    if (run.model / "adapter_config.json").exists():
        root = base.base or base.card
        changed |= {"base": root.name, "adapter": str(run.model)}
    else:
        changed |= {"source": "local", "location": str(run.model), "revision": None}
        changed |= {"base": None, "adapter": None}
    return base.card.model_copy(update=changed)


def _provenance(prepared: Prepared) -> dict[str, object]:
    run = prepared.run
    recipe = json.dumps(run.read("recipe.json"), sort_keys=True)
    metrics = run.metrics()
    rows = prepared.sources()[0].rows
    return {
        "run": str(run.directory),
        "trajectories": str(rows.directory / "names.txt"),
        "recipe": hashlib.sha256(recipe.encode()).hexdigest()[:16],
        "parent_weights": prepared.base.card.weights_version,
        "rows": len(rows),
        "steps": len(metrics),
        "trained_tokens": sum(line["trained_tokens"] for line in metrics),
        "first_loss": metrics[0]["loss"],
        "last_loss": metrics[-1]["loss"],
    }
