"""What AgentLM adds to vLLM's worker: vLLM mixes this class into its own, in the worker's process.

It imports nothing of vLLM: the worker has it.
"""

from __future__ import annotations

import contextlib
import multiprocessing.util
import os
import select
import signal
import threading
from collections.abc import Sequence
from typing import Any


class WorkerExtension:
    """Methods that `collective_rpc` finds on every worker."""

    reload_weights: Any
    get_model: Any

    def live_with(self, server: int, cores: Sequence[int]) -> None:
        """End this worker and the engine's cores as soon as one of these processes is gone.

        vLLM's cores outlive a killed server, and workers a killed core: they would keep their
        memory for ever.
        """
        watched = [os.pidfd_open(process) for process in (server, *cores) if process != os.getpid()]
        threading.Thread(target=_follow, args=(watched, watched[1:]), daemon=True).start()
        # When a worker has shut down, taking the interpreter apart would still take seconds.
        multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-100)

    def swap_weights(self, path: str) -> None:
        """Load other weights of the same shapes in place."""
        self.reload_weights(weights_path=path)
        # On the CPU an output head keeps a packed copy. Tied to the embeddings, it has no weights
        # of its own in the files, so a reload leaves that copy as it was.
        for layer in self.get_model().modules():
            if hasattr(layer, "cpu_linear") and hasattr(layer, "num_embeddings"):
                layer.quant_method.process_weights_after_loading(layer)


def _follow(watched: Sequence[int], doomed: Sequence[int]) -> None:
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    for descriptor in doomed:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os._exit(1)
