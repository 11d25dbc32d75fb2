"""Attention over a pack: every segment sees its ancestors and, causally, itself.

It is registered with transformers as `agentlm_pack`, so any of its decoder models can compute
packs. Each segment is a separate attention call over the keys that it may see: there is no square
mask over the pack, and nothing is computed only to be masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from agentlm.finetune.training.packing import Segment

PACK_ATTENTION = "agentlm_pack"


@dataclass(frozen=True)
class PackLayout:
    """The segments of a pack, and what each of them attends to."""

    segments: tuple[Segment, ...]
    device: torch.device
    dtype: torch.dtype

    @cached_property
    def sizes(self) -> list[int]:
        """Tokens of each segment."""
        return [segment.end - segment.start for segment in self.segments]

    @cached_property
    def paths(self) -> list[list[int]]:
        """For each segment the indices of its ancestors, oldest first, followed by its own."""
        paths: list[list[int]] = []
        for index, segment in enumerate(self.segments):
            paths.append([*(paths[segment.parent] if segment.parent >= 0 else []), index])
        return paths

    @cached_property
    def masks(self) -> list[Tensor | None]:
        """Masks to add to the scores of each segment; None for plain causal attention."""
        return [
            None if len(path) == 1 else self._mask(self.sizes[path[-1]], self._context(path))
            for path in self.paths
        ]

    def _context(self, path: Sequence[int]) -> int:
        return sum(self.sizes[index] for index in path[:-1])

    def _mask(self, queries: int, context: int) -> Tensor:
        mask = torch.full(
            (queries, context + queries), float("-inf"), device=self.device, dtype=self.dtype
        )
        return mask.triu(context + 1)


def pack_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: PackLayout,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention interface: (1, heads, tokens, width) to (1, tokens, heads, width)."""
    key, value = (_for_heads(it, query.shape[1], layout) for it in (key, value))
    queries = torch.split(query, layout.sizes, dim=2)
    keys = torch.split(key, layout.sizes, dim=2)
    values = torch.split(value, layout.sizes, dim=2)
    outputs = [
        scaled_dot_product_attention(
            queries[path[-1]],
            _along(path, keys),
            _along(path, values),
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=key.shape[1] != query.shape[1],
        )
        for path, mask in zip(layout.paths, layout.masks, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _for_heads(states: Tensor, heads: int, layout: PackLayout) -> Tensor:
    """Keys or values for the kernel. On GPUs, grouped heads with a mask would use the slow one."""
    if layout.device.type == "cpu" or heads == states.shape[1]:
        return states
    return states.repeat_interleave(heads // states.shape[1], dim=1)


def _along(path: Sequence[int], parts: Sequence[Tensor]) -> Tensor:
    return parts[path[0]] if len(path) == 1 else torch.cat([parts[i] for i in path], dim=2)


def register() -> None:
    """Make `PACK_ATTENTION` known to transformers; idempotent."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACK_ATTENTION, pack_attention)
