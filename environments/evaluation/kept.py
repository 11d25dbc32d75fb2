"""Where an evaluation keeps its measurements.

The results of one plan are in a separate file, named after the plan's digest. So the same model
with other weights, on another server or with other settings never gets the first one's numbers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from agentlm.environments.evaluation.settings import EvalSettings


def name_of(settings: EvalSettings) -> str:
    """The name that was given, or one made of model, split and seed."""
    return settings.name or _safe(f"{settings.model}-{settings.split}-{settings.seed}")


def directory_of(settings: EvalSettings) -> Path:
    """Where everything of the evaluation is kept."""
    return settings.data_dir / "evaluations" / name_of(settings)


def kept_file(settings: EvalSettings, title: str, plan: Mapping[str, object]) -> Path:
    """The file for results that depend on this plan only."""
    content = json.dumps(plan, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    return directory_of(settings) / f"{_safe(title)}-{digest}.jsonl"


def _safe(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)
