"""How far a model has moved from its base, token by token.

KL(base ‖ model) = Σ over the vocabulary of p_base · (log p_base - log p_model)

at every place of a text is the loss of distillation (Hinton et al. 2015, arXiv:1503.02531, at
temperature 1) with the base as its own teacher (Li & Hoiem 2016, arXiv:1606.09282). Imitating texts
that the base wrote has the same gradient on average, but one sampled token stands there for the
whole distribution, so it takes many more texts. Here also texts of others will do, and answers that
were cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div


def divergences(head: nn.Module, hidden: Tensor, of_base: Tensor) -> Tensor:
    """KL(base ‖ model) at each place, in nats.

    `hidden` and `of_base` are (places, width): last hidden states of the model and of its base.
    `head` makes logits of them, with an adapter or without.
    """
    model = head(hidden).float().log_softmax(-1)
    with torch.no_grad():
        own = getattr(head, "base_layer", head)
        base = own(of_base).float().log_softmax(-1)
    return kl_div(model, base, reduction="none", log_target=True).sum(-1)


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[None]:
    """Compute as the base does, without gradients. Raises ValueError if there is no adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if not layers:
        raise ValueError("the model has no adapter that could be left out")
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        with torch.no_grad():
            yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)
