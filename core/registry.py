"""The registry: model cards under a data directory, and where their files are."""

from __future__ import annotations

from agentlm.cards import BUILT_IN, ModelCard

__all__ = ["BUILT_IN", "ModelCard"]
