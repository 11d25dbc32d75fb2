"""Attention over a whole pack in one call, on a GPU: FlexAttention (Dong et al. 2024,
arXiv:2412.05496).

Segments are laid out depth first, so what continues a segment stands right behind it, up to its
**reach**. A token is seen from itself on to the reach of its segment:

    key ≤ query < reach of the key

is the whole mask. Tiles of the scores that nobody sees are not computed, tiles that are seen
entirely are not masked, and no key of a shared beginning is copied for the rows that continue it.

On a CPU the library has no backward pass; there, and wherever `refusal` finds that it can't be
relied on, segments are computed one by one (`attention.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from agentlm.finetune.training.packing import Segment
from agentlm.finetune.training.transfer import sent

TILE = 128
"""Queries and keys of a tile; the library's default, for which its kernels are tuned."""


def reach(segments: Sequence[Segment]) -> NDArray[np.int64]:
    """For each token of a pack, one past the last token that sees it."""
    ends = [segment.end for segment in segments]
    for index in reversed(range(len(segments))):
        if (parent := segments[index].parent) >= 0:
            ends[parent] = max(ends[parent], ends[index])
    return np.repeat(ends, [segment.end - segment.start for segment in segments])


def tiles(segments: Sequence[Segment], device: torch.device) -> BlockMask:
    """The mask of a pack, tile by tile. It is made from the tiles' bounds, without a square of all
    tokens, which for 16,384 of them would have 268 million places."""
    reaches = reach(segments)
    tokens = len(reaches)
    first = np.arange(0, tokens, TILE)
    farthest = np.maximum.reduceat(reaches, first)
    nearest = np.minimum.reduceat(reaches, first)
    before = first[None, :] < first[:, None]  # (tiles of queries, tiles of keys)
    diagonal = np.eye(len(first), dtype=bool)
    seen = (before & (farthest[None, :] > first[:, None])) | diagonal
    # A last tile that is not full has places behind the pack, so it is always masked.
    last = first[:, None] + TILE
    whole = before & (nearest[None, :] >= last) & (last <= tokens)
    on_device = sent(reaches, device)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < on_device[key])

    return BlockMask.from_kv_blocks(
        *_listed(seen & ~whole, device),
        *_listed(whole, device),
        BLOCK_SIZE=TILE,
        mask_mod=sees,
        seq_lengths=(tokens, tokens),
    )


def _listed(chosen: NDArray[np.bool_], device: torch.device) -> tuple[Tensor, Tensor]:
    """The library's form: for each tile of queries the number of tiles of keys, and which."""
    order = np.argsort(~chosen, axis=1, kind="stable")
    number = chosen.sum(1)
    return (
        sent(number.astype(np.int32), device)[None, None],
        sent(order.astype(np.int32), device)[None, None],
    )


def attend(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float) -> Tensor:
    """(1, heads, tokens, width); keys and values may have fewer heads."""
    call = _compiled() if query.is_cuda else _NOT_COMPILED
    grouped = key.shape[1] != query.shape[1]
    attended: Tensor = call(query, key, value, block_mask=mask, scale=scale, enable_gqa=grouped)
    return attended


_NOT_COMPILED: Any = flex_attention
"""It computes the square of all scores."""


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention)
