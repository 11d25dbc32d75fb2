"""Numbers on their way to the device that trains."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device. On a CPU it is the same memory.

    A GPU gets it from pinned memory, whose copy runs ahead: for another copy the host would wait
    until the device had done all that it was told before.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
