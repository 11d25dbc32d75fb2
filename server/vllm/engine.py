"""The engine: vLLM in this process (`AsyncLLM`), with its core and workers in other processes.

Only this module, `request` and `worker` import vLLM. Errors are sorted here by who can act on them:
what vLLM refuses before it runs is the caller's (`RequestError`); a dead engine is nobody's
(`UnavailableError`), and is started again for the next request.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import os
import time
import uuid
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn, Self, cast

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError, VLLMServerError
from vllm.inputs import EngineInput
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.outputs import RequestOutput
from vllm.platforms import current_platform
from vllm.tokenizers import TokenizerLike
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine import EngineCoreRequest, output_processor
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.logprobs import LogprobsProcessor

from agentlm.engine.protocol import Adapter, Delta, GenerateRequest, TokenLogprob
from agentlm.errors import ContextLengthError, OperatorError, RequestError, UnavailableError
from agentlm.server.models.weights_fit import check_adapter_fit, check_weights_fit
from agentlm.server.vllm.flags import check_known, chosen, command_line
from agentlm.server.vllm.grammars import GrammarRefused, Grammars, Passage
from agentlm.server.vllm.launch import model_width, process_variables, starting
from agentlm.server.vllm.request import (
    delta,
    prompt_logprobs,
    refusal,
    sampling_params,
    scoring_params,
    unheld_schema,
    vocabulary,
)
from vllm import SamplingParams

logger = logging.getLogger(__name__)

SHUTDOWN_S = 2.0
"""Time for vLLM's core to clean up. Leaving Python would take it some seconds more."""


class VLLMEngine:
    def __init__(
        self,
        llm: AsyncLLM,
        args: AsyncEngineArgs,
        *,
        weights_version: str,
        end_of_turn_ids: Sequence[int],
    ) -> None:
        self.max_model_len: int = llm.model_config.max_model_len
        self.weights_version = weights_version
        self._llm: AsyncLLM | None = llm
        """None once it is closed."""
        self._args = args
        self._end_of_turn_ids = tuple(end_of_turn_ids)
        self._adapters: dict[str, LoRARequest] = {}
        self._adapter_ids = itertools.count(1)
        self._grammars = Grammars(vocabulary(llm))
        self._restarting: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        """Held while weights are swapped or a dead engine is restarted; requests wait."""

    @classmethod
    async def start(
        cls,
        model: Path,
        *,
        weights_version: str,
        end_of_turn_ids: Sequence[int] = (),
        max_model_len: int | None = None,
        seed: int = 0,
        arguments: Sequence[str] = (),
    ) -> Self:
        """Load a model directory and be ready to generate.

        `end_of_turn_ids` end a generation, in addition to those in the model's own files.
        `arguments` are vLLM's own flags; they override the choices made here. Raises OperatorError
        for an unknown flag, and for a model that vLLM can't load.
        """
        cpu = current_platform.is_cpu()
        flags = chosen(model, seed, max_model_len, arguments, cpu=cpu)
        args = parse_arguments(flags, arguments)
        llm = await _launch(args)
        engine = cls(llm, args, weights_version=weights_version, end_of_turn_ids=end_of_turn_ids)
        await engine._grammars.worker.start()
        return engine

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        if len(request.prompt_ids) >= self.max_model_len:
            raise ContextLengthError(len(request.prompt_ids), self.max_model_len)
        began = time.monotonic()
        passage: Passage | None = None
        try:
            params = sampling_params(request, self._end_of_turn_ids)
            if params.structured_outputs is not None:
                tag = str(params.structured_outputs.structural_tag)
                passage = await self._grammars.admit(tag, request.salt)
            llm = await self._running()
            outputs = (partial(_at_the_end, llm) if request.whole else llm.generate)(
                tokens_input(list(request.prompt_ids), cache_salt=request.salt or None),
                params,
                uuid.uuid4().hex,
                lora_request=self._loaded(request.adapter) if request.adapter else None,
            )
            if request.whole and passage is not None:
                # Its first token is known only with its last one.
                passage.leave()
            # Closing it aborts the request in the engine.
            async with aclosing(outputs):
                async for output in outputs:
                    self._grammars.served(began)
                    if passage is not None:
                        passage.end()
                    yield delta(output, request.sampling.top_logprobs)
        except GrammarRefused as error:
            raise unheld_schema(str(error), request.constraint) from error
        except VLLMClientError as error:
            raise refusal(error, request.constraint) from error
        except VLLMServerError as error:
            raise UnavailableError("the engine stopped while it generated; try again") from error
        finally:
            if passage is not None:
                passage.leave()

    async def score(
        self,
        prompt_ids: Sequence[int],
        *,
        top_logprobs: int = 0,
        adapter: Adapter | None = None,
        salt: str = "",
    ) -> Sequence[Sequence[TokenLogprob]]:
        llm = await self._running()
        try:
            outputs = llm.generate(
                tokens_input(list(prompt_ids), cache_salt=salt or None),
                scoring_params(top_logprobs),
                uuid.uuid4().hex,
                lora_request=self._loaded(adapter) if adapter else None,
            )
            async with aclosing(outputs):
                async for output in outputs:
                    if output.finished:
                        return prompt_logprobs(output)
        except VLLMClientError as error:
            raise refusal(error, None) from error
        except VLLMServerError as error:
            raise UnavailableError("the engine stopped while it scored; try again") from error
        raise UnavailableError("the engine gave the request up; try again")

    async def load_adapter(self, adapter: Adapter) -> None:
        """Loading an adapter that is loaded changes nothing."""
        if (known := self._adapters.get(adapter.name)) and known.lora_path == adapter.path:
            return
        if not self._args.enable_lora:
            raise RequestError("this server takes no adapters: it runs with --no-enable-lora")
        await asyncio.to_thread(
            check_adapter_fit,
            Path(adapter.path),
            Path(self._args.model),
            max_rank=self._args.max_lora_rank,
        )
        # Each content gets its own name and number, since vLLM caches by them.
        number = next(self._adapter_ids)
        request = LoRARequest(f"{adapter.name}#{number}", number, adapter.path)
        llm = await self._running()
        try:
            await _answer(llm, llm.add_lora(request))
        except RuntimeError as error:
            raise RequestError(f"vLLM can't apply {adapter.path}: {error}") from error
        await self.unload_adapter(adapter.name)
        self._adapters[adapter.name] = request

    async def unload_adapter(self, name: str) -> None:
        request = self._adapters.pop(name, None)
        llm = self._llm
        if request is not None and llm is not None and not llm.errored:
            await _answer(llm, llm.remove_lora(request.lora_int_id))

    def _loaded(self, adapter: Adapter) -> LoRARequest:
        request = self._adapters.get(adapter.name)
        if request is None:
            raise RequestError(f"the adapter {adapter.name!r} is not loaded", param="model")
        # vLLM rereads an adapter after a long time without use, and dies if its files are gone.
        if not Path(request.lora_path, "adapter_config.json").is_file():
            raise UnavailableError(f"the adapter's files are gone from {request.lora_path}")
        return request

    async def load_weights(self, path: str, version: str) -> None:
        """The adapters, which were made for the old weights, are unloaded."""
        await asyncio.to_thread(check_weights_fit, Path(path), Path(self._args.model))
        # Once begun, it must end even if nobody waits for it any more, since the engine is paused.
        swap = asyncio.create_task(self._swap(path, version))
        await asyncio.shield(swap)

    async def _swap(self, path: str, version: str) -> None:
        llm = await self._running()
        async with self._changing:
            try:
                await _answer(llm, llm.pause_generation(mode="wait", clear_cache=True))
                await _answer(llm, llm.collective_rpc("swap_weights", args=(path,)))
                await _answer(llm, llm.reset_prefix_cache())
                await _answer(llm, llm.update_weight_version(version))
                await _answer(llm, llm.resume_generation())
            except RuntimeError as error:
                # The weights may be half replaced: only a restart brings the old ones back whole.
                await self._restart()
                raise RequestError(f"{path} could not be loaded: {error}") from error
            self._args = dataclasses.replace(self._args, model=path)
            self.weights_version = version
            self._adapters.clear()

    async def healthy(self) -> bool:
        """Starts to restart a dead engine."""
        if self._llm is None:
            return False
        if self._llm.errored:
            self._restart()
            return False
        return True

    def compiles(self) -> bool:
        return not self._grammars.stuck()

    async def close(self) -> None:
        await self._grammars.close()
        if self._restarting is not None:
            await self._restarting
        llm, self._llm = self._llm, None
        if llm is not None:
            await _stop(llm)

    async def _running(self) -> AsyncLLM:
        """vLLM, restarted if it has died. Raises UnavailableError if that fails."""
        async with self._changing:
            if self._llm is not None and self._llm.errored:
                # Shielded: one waiter may be cancelled while others still need it.
                await asyncio.shield(self._restart())
            if self._llm is None or self._llm.errored:
                raise UnavailableError("the engine is not running")
            return self._llm

    def _restart(self) -> asyncio.Task[None]:
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.create_task(self._start_again())
        return self._restarting

    async def _start_again(self) -> None:
        logger.error("the engine died or was left broken; it is started again")
        if self._llm is not None:
            await _stop(self._llm)
        try:
            self._llm = await _launch(self._args)
        except OperatorError:
            logger.exception("the engine can't be started again")


async def _at_the_end(
    llm: AsyncLLM,
    prompt: EngineInput,
    params: SamplingParams,
    request_id: str,
    *,
    lora_request: LoRARequest | None,
) -> AsyncGenerator[RequestOutput, None]:
    """Like `AsyncLLM.generate`, with one output at the end; if cancelled, with what there is."""
    collector = await llm.add_request(request_id, prompt, params, lora_request=lora_request)
    try:
        output = await collector.get()
    except asyncio.CancelledError:
        await llm.abort(collector.request_id, internal=True)
        if (cut_off := collector.get_nowait()) is not None:
            cut_off.outputs[0].finish_reason = None
            yield cut_off
        raise
    yield output


def parse_arguments(flags: Mapping[str, str], user_flags: Sequence[str]) -> AsyncEngineArgs:
    """vLLM's arguments from the flags chosen here and the user's, which override them.

    Raises OperatorError for an unknown flag, with the nearest known one, and for a wrong value.
    """
    parser = AsyncEngineArgs.add_cli_args(_Parser(allow_abbrev=False))
    check_known(user_flags, parser._option_string_actions)
    return AsyncEngineArgs.from_cli_args(parser.parse_args(command_line(flags, user_flags)))


class _Unspelled(LogprobsProcessor):  # type: ignore[misc]
    """Log-probabilities by token id alone.

    vLLM would write out every token beside its log-probability, and has no option against it. We
    write out those that a client asks for; of all it was a seventh of the server's time.
    """

    @classmethod
    def from_new_request(cls, tokenizer: TokenizerLike | None, request: EngineCoreRequest) -> Self:
        return cast(Self, super().from_new_request(tokenizer=None, request=request))


output_processor.LogprobsProcessor = _Unspelled


class _Parser(FlexibleArgumentParser):  # type: ignore[misc]
    def error(self, message: str) -> NoReturn:
        raise OperatorError(message)


async def _launch(args: AsyncEngineArgs) -> AsyncLLM:
    """Start vLLM's processes. Raises OperatorError if that fails."""
    try:
        # This blocks until the model is loaded.
        llm = await asyncio.to_thread(_start_processes, args)
    except Exception as error:
        raise OperatorError(f"vLLM can't serve {args.model}: {_line(error)}") from error
    # This task ends when the engine dies; `_answer` watches it.
    llm._run_output_handler()
    cores = [process.pid for process in _cores(llm)]
    if cores and args.nnodes == 1:
        await _answer(llm, llm.collective_rpc("live_with", args=(os.getpid(), cores)))
    if args.enable_lora:
        await _answer(llm, llm.collective_rpc("score_beside_others"))
    if current_platform.is_cpu():
        await _answer(llm, llm.collective_rpc("sample_whole_prompts_alone"))
        await _answer(llm, llm.collective_rpc("rank_only_alternatives"))
        try:
            await _answer(llm, llm.collective_rpc("hand_back_what_is_empty"))
        except RuntimeError as error:  # costs memory, and nothing else
            logger.warning("vLLM's empty memory can't be handed back: %s", error)
    return llm


def _start_processes(args: AsyncEngineArgs) -> AsyncLLM:
    variables = process_variables(
        cpu=current_platform.is_cpu(),
        eager=args.enforce_eager,
        workers=args.tensor_parallel_size * args.pipeline_parallel_size * args.data_parallel_size,
        width=model_width(Path(args.model)),
    )
    with starting(variables):
        return AsyncLLM.from_engine_args(args)


async def _stop(llm: AsyncLLM) -> None:
    # It would report a regular end as the engine's death.
    llm.output_handler.cancel()
    await asyncio.to_thread(_stop_processes, llm)


def _stop_processes(llm: AsyncLLM) -> None:
    cores = _cores(llm)
    llm.shutdown(SHUTDOWN_S)
    for process in cores:
        process.join()


def _cores(llm: AsyncLLM) -> list[BaseProcess]:
    """The engine's processes on this machine; none if Ray started them."""
    return list(getattr(llm.engine_core.resources.engine_manager, "processes", ()))


async def _answer(llm: AsyncLLM, call: Coroutine[Any, Any, object]) -> None:
    """Wait for a call of the engine, which a dead engine would never answer.

    Raises UnavailableError if the engine dies, and RuntimeError with its message if the call fails.
    """
    task = asyncio.ensure_future(call)
    await asyncio.wait({task, llm.output_handler}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        raise UnavailableError("the engine died")
    if error := task.exception():
        raise RuntimeError(_line(error)) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]
