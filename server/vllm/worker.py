"""What AgentLM adds to vLLM's processes; it runs in those processes.

vLLM runs `live_with_server` when one of its processes begins, and mixes `WorkerExtension` into its
worker. Nothing of vLLM is imported before those processes have imported it themselves.
"""

from __future__ import annotations

import contextlib
import multiprocessing.util
import os
import select
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agentlm.server.vllm.pages import hand_back_zeros

SERVER_PROCESS = "AGENTLM_SERVER_PROCESS"
"""Environment variable that tells vLLM's processes which process started them."""


def live_with_server() -> None:
    """End this process as soon as the server is gone; else a model that is loading would stay.

    vLLM loads this as a plugin, by the package's metadata.
    """
    server = int(os.environ.get(SERVER_PROCESS, os.getpid()))
    if server == os.getpid():
        return
    try:
        watched = [os.pidfd_open(server)]
    except ProcessLookupError:
        os._exit(1)
    threading.Thread(target=_follow, args=(watched, ()), daemon=True).start()


class WorkerExtension:
    """Methods that `collective_rpc` finds on every worker."""

    reload_weights: Any
    get_model: Any
    model_runner: Any

    def live_with(self, server: int, cores: Sequence[int]) -> None:
        """End this worker and the engine's cores as soon as one of these processes is gone.

        vLLM's cores outlive a killed server, and workers a killed core: they would keep their
        memory for ever. They know of the server's end already unless VLLM_PLUGINS excludes our
        plugin.
        """
        watched = [os.pidfd_open(process) for process in (server, *cores) if process != os.getpid()]
        threading.Thread(target=_follow, args=(watched, watched[1:]), daemon=True).start()
        # After a worker has shut down, taking the interpreter apart would take seconds more.
        multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-100)

    def score_beside_others(self) -> None:
        """Allow scoring prompts while other requests run, on an engine with adapters.

        vLLM 0.32 adds the adapters' output heads to logits by one index for each running request,
        also to those of a prompt: with two or more requests that ended the engine. The logits of a
        prompt now omit them, since our trainer's adapters have no output head.
        """
        head = getattr(self.get_model(), "logits_processor", None)
        wrapper = getattr(head, "punica_wrapper", None)
        if wrapper is None:
            return
        add = wrapper.add_lora_logits

        def add_to_samples(y: Any, x: Any, *args: Any, **options: Any) -> Any:
            return add(y, x, *args, **options) if len(x) == len(wrapper.sampler_indices) else y

        wrapper.add_lora_logits = add_to_samples

    def sample_whole_prompts_alone(self) -> None:
        """Don't draw from a seeded request's generator while its prompt is read in parts.

        vLLM 0.32 samples after each part, throws the token away, and turns the generator back by an
        offset, which a processor's generator hasn't: one long prompt with a seed ended the engine.
        Not drawn from, it needs no turning back.
        """
        runner = self.model_runner
        sample = runner.sample_tokens

        def sample_tokens(grammar_output: Any) -> Any:
            generators = runner.input_batch.generators
            unread = runner.discard_request_mask.np[: runner.input_batch.num_reqs].nonzero()[0]
            kept = {row: generators.pop(row) for row in map(int, unread) if row in generators}
            try:
                return sample(grammar_output)
            finally:
                generators |= kept

        runner.sample_tokens = sample_tokens

    def rank_only_alternatives(self) -> None:
        """Don't count how many tokens are likelier than a sampled one unless they are asked for.

        We ask for the log-probability of every token, and vLLM 0.32 then looks through the whole
        vocabulary once more for the token's rank, which nobody reads: a thirteenth of a small
        model's step on a processor.
        """
        from vllm.v1.outputs import LogprobsTensors

        sampler = self.model_runner.sampler
        gather = sampler.gather_logprobs

        def gather_logprobs(logprobs: Any, num_logprobs: int, token_ids: Any) -> Any:
            if num_logprobs:
                return gather(logprobs, num_logprobs, token_ids)
            ids = token_ids.unsqueeze(-1)
            unknown = token_ids.new_zeros(len(token_ids))  # the likeliest token has rank 1
            return LogprobsTensors(ids.int(), logprobs.gather(-1, ids), unknown)

        sampler.gather_logprobs = gather_logprobs

    def hand_back_what_is_empty(self) -> int:
        """Let the kernel have the memory of the cache and of adapters' places until it is used.
        Returns the bytes.

        vLLM fills both with zeros when it starts, which takes a gigabyte for a small model.
        """
        held = [*self.model_runner.kv_caches, *_adapter_places(self.get_model())]
        storages = {it.data_ptr(): it for it in (each.untyped_storage() for each in _flat(held))}
        ours = [it for it in storages.values() if it.device.type == "cpu" and not it.is_shared()]
        return sum(hand_back_zeros(it.data_ptr(), it.nbytes()) for it in ours)

    def swap_weights(self, path: str) -> None:
        """Load other weights of the same shapes in place."""
        self.reload_weights(weights_path=path)
        # On the CPU an output head keeps a packed copy. If it is tied to the embeddings, it has no
        # weights in the files, so a reload leaves that copy unchanged.
        for layer in self.get_model().modules():
            if hasattr(layer, "cpu_linear") and hasattr(layer, "num_embeddings"):
                layer.quant_method.process_weights_after_loading(layer)


def _adapter_places(model: Any) -> Iterator[Any]:
    """The tensors that a layer keeps adapters' weights in, an empty place for each."""
    for layer in model.modules():
        yield from (value for name, value in vars(layer).items() if name.endswith("_stacked"))


def _flat(tensors: Iterable[Any]) -> Iterator[Any]:
    """Some layers keep several under one name."""
    for each in tensors:
        if isinstance(each, list | tuple):
            yield from _flat(each)
        elif hasattr(each, "untyped_storage"):
            yield each


def _follow(watched: Sequence[int], doomed: Sequence[int]) -> None:
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    for descriptor in doomed:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os._exit(1)
