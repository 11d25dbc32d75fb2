"""Attention over a pack: every segment sees its ancestors and, causally, itself.

It is registered with transformers as `agentlm_pack`, so any of its decoder models can compute
packs. There is no square mask over the pack, and hardly anything is computed only to be masked:
either the pack is one call (`one_call.py`), or each segment is a call over the keys that it may
see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention

from agentlm.finetune.training.one_call import attend, tiles
from agentlm.finetune.training.packing import Segment

PACK_ATTENTION = "agentlm_pack"
_SAME = {torch.bfloat16: 2e-2, torch.float32: 1e-3}
"""How far two ways of computing attention may differ, relative to the largest value."""


@dataclass(frozen=True)
class PackLayout:
    """The segments of a pack, and what each of them attends to."""

    segments: tuple[Segment, ...]
    device: torch.device
    dtype: torch.dtype
    one_call: bool = False
    """Whether the pack is one call (`refusal` says where it can't be), or each segment is."""

    @cached_property
    def tiles(self) -> BlockMask:
        """The mask of the whole pack."""
        return tiles(self.segments, self.device)

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
        """What each segment sees of its context and itself; None for plain causal attention."""
        return [
            None if len(path) == 1 else self._mask(self.sizes[path[-1]], self._context(path))
            for path in self.paths
        ]

    def _context(self, path: Sequence[int]) -> int:
        return sum(self.sizes[index] for index in path[:-1])

    def _mask(self, queries: int, context: int) -> Tensor:
        if self.device.type == "cuda":  # its kernels know this form: nothing is stored or added
            return causal_lower_right(queries, context + queries)
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
    if layout.one_call and not dropout:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attend(query, key, value, layout.tiles, scale).transpose(1, 2), None
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
    """Keys or values for the kernel. On GPUs, only those of 16 bits take grouped heads."""
    grouped = heads != states.shape[1]
    if not grouped or layout.device.type == "cpu" or states.dtype != torch.float32:
        return states
    return states.repeat_interleave(heads // states.shape[1], dim=1)


def _along(path: Sequence[int], parts: Sequence[Tensor]) -> Tensor:
    return parts[path[0]] if len(path) == 1 else torch.cat([parts[i] for i in path], dim=2)


_FORESTS = (
    (Segment(0, 70, -1), Segment(70, 200, 0), Segment(200, 230, 1), Segment(230, 333, 0)),
    (Segment(0, 300, -1), Segment(300, 310, 0), Segment(310, 512, 0), Segment(512, 600, -1)),
)


def refusal(config: Any, dtype: torch.dtype, device: torch.device) -> str | None:
    """Why a pack can't be one call of FlexAttention, beginning with a verb; None if it can.

    Both ways are computed on this device, with gradients, for heads as the model (transformers'
    `config`) has them.
    """
    if device.type != "cuda":
        return "has no backward pass on a CPU"
    config = config.get_text_config()
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    grouped = getattr(config, "num_key_value_heads", None) or heads
    try:
        differences = [
            _difference(PackLayout(forest, device, dtype), heads, grouped, width)
            for forest in _FORESTS
        ]
    except Exception as error:  # noqa: BLE001  a compiler fails in many ways; another way remains
        return "fails here: " + (str(error).strip() or type(error).__name__).splitlines()[0]
    if not max(differences) <= _SAME[dtype]:
        return f"differs here by {max(differences):.2g}"
    return None


def _difference(layout: PackLayout, heads: int, grouped: int, width: int) -> float:
    """The largest difference between the two ways, of outputs and gradients, relative to the
    largest value."""
    tokens = layout.segments[-1].end
    generator = torch.Generator(layout.device).manual_seed(0)
    inputs = [
        torch.randn(1, n, tokens, width, generator=generator, device=layout.device)
        .to(layout.dtype)
        .requires_grad_()
        for n in (heads, grouped, grouped)
    ]
    ways = []
    for one_call in (False, True):
        this = replace(layout, one_call=one_call)
        query, key, value = inputs
        output, _ = pack_attention(torch.nn.Identity(), query, key, value, None, layout=this)
        ways.append([output, *torch.autograd.grad(output.float().square().sum(), inputs)])
    return max(
        float((one - other).abs().max() / one.abs().max()) for one, other in zip(*ways, strict=True)
    )


def register() -> None:
    """Make `PACK_ATTENTION` known to transformers; idempotent."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACK_ATTENTION, pack_attention)
