"""The processes of a run: one by default, or those started by DeepSpeed's launcher or torchrun.

Under a launcher (`deepspeed --hostfile hosts --module agentlm.finetune …`), RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR and MASTER_PORT tell each process its place. Without a launcher they are set
here for a single process.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

T = TypeVar("T")

# Long enough for process 0 to read a large log while the others wait.
_TIMEOUT = timedelta(hours=12)


@dataclass(frozen=True)
class Processes:
    """This process among all that train together."""

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """Whether this process reads, writes and reports for all."""
        return self.rank == 0

    def once(self, work: Callable[[], T]) -> T:
        """Run `work` in the first process. In all processes, return its result or raise its
        error."""
        if self.count == 1:
            return work()
        box: list[Any] = [None, None]
        if self.first:
            try:
                box[0] = work()
            except Exception as error:  # noqa: BLE001 - the others would wait for ever
                box[1] = error
        torch.distributed.broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        result: T = box[0]
        return result

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def sum(self, value: float) -> float:
        """The sum of each process's value."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=device())
        torch.distributed.all_reduce(total)
        return float(total)

    def sum_all(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sums of each process's values."""
        if self.count == 1:
            return values
        total = torch.from_numpy(values).to(device())
        torch.distributed.all_reduce(total)
        summed: NDArray[np.float32] = total.cpu().numpy()
        return summed


def device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def join() -> Processes:
    """Join the other processes, if there are any; idempotent."""
    _single_process_defaults()
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    if device().type == "cpu":
        # DeepSpeed would compile a C++ extension for its collectives; gloo works without.
        deepspeed.ops.__compatible_ops__ = defaultdict(bool)
    else:
        torch.cuda.set_device(device())
    deepspeed.init_distributed(
        dist_backend="nccl" if device().type == "cuda" else "gloo",
        auto_mpi_discovery=False,
        timeout=_TIMEOUT,
        verbose=False,
    )
    return Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())


def _single_process_defaults() -> None:
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if "RANK" in os.environ:
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    os.environ |= {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
