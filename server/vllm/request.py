"""A request in vLLM's terms, and its outputs in ours. Only this module and `engine` import vLLM."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal, cast

from vllm.exceptions import VLLMClientError, VLLMValidationError
from vllm.logprobs import FlatLogprobs
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from xgrammar import TokenizerInfo

from agentlm.engine.protocol import Constraint, Delta, GenerateRequest, TokenLogprob
from agentlm.errors import RequestError, UnavailableError
from agentlm.server.openai.schemas import unheld
from vllm import SamplingParams

MAX_WHITESPACE = 8
"""Characters between two tokens of JSON: enough to indent, too few for an endless loop."""

LEAST_TOP_P = 1e-6
"""Used for 0, which OpenAI allows and vLLM does not: only the likeliest token is left."""


def sampling_params(request: GenerateRequest, end_of_turn_ids: Sequence[int]) -> SamplingParams:
    """Raises VLLMClientError for values out of range."""
    sampling, constraint = request.sampling, request.constraint
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p or LEAST_TOP_P,
        seed=sampling.seed,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        logit_bias=dict(sampling.logit_bias) or None,
        stop_token_ids=[*end_of_turn_ids, *sampling.stop_token_ids],
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        min_tokens=min(sampling.min_tokens, request.max_tokens),
        max_tokens=request.max_tokens,
        # 0 stands for the sampled token alone.
        logprobs=sampling.top_logprobs,
        flat_logprobs=True,
        structured_outputs=_structured(constraint) if constraint else None,
        output_kind=RequestOutputKind.FINAL_ONLY if request.whole else RequestOutputKind.DELTA,
        # It is made for this request, so vLLM need not make a deep copy.
        skip_clone=True,
    )


def scoring_params(top_logprobs: int) -> SamplingParams:
    """Parameters for scoring a prompt. vLLM generates at least one token."""
    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        prompt_logprobs=top_logprobs,
        output_kind=RequestOutputKind.FINAL_ONLY,
        detokenize=False,
    )


def prompt_logprobs(output: RequestOutput) -> list[list[TokenLogprob]]:
    """For each prompt token, itself first, then the likeliest; nothing for the first token."""
    ids, positions = output.prompt_token_ids or [], output.prompt_logprobs or []
    scored = []
    for token, position in zip(ids, positions, strict=True):
        known = {each: logprob.logprob for each, logprob in (position or {}).items()}
        ranked = sorted(position or {}, key=lambda each: position[each].rank or 0)
        likeliest = [TokenLogprob(each, known[each]) for each in ranked]
        scored.append([TokenLogprob(token, known[token]), *likeliest] if position else [])
    return scored


def _structured(constraint: Constraint) -> StructuredOutputsParams:
    if constraint.json_schema is None:
        return StructuredOutputsParams(structural_tag=constraint.structural_tag)
    return StructuredOutputsParams(structural_tag=json_tag(constraint.json_schema))


def json_tag(schema: str) -> str:
    """A JSON schema as a structural tag, which limits the white space.

    Raises VLLMValidationError if it is not JSON, or if decoding would silently ignore a part of it.
    """
    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise VLLMValidationError(f"it is no JSON: {error}") from error
    if ignored := unheld(parsed):
        raise VLLMValidationError(f"{ignored} would be ignored")
    content = {"type": "json_schema", "json_schema": parsed, "max_whitespace_cnt": MAX_WHITESPACE}
    return json.dumps({"type": "structural_tag", "format": content})


def delta(output: RequestOutput, top_logprobs: int) -> Delta:
    """What one output adds. Raises UnavailableError if the engine abandoned the request."""
    completion = output.outputs[0]
    reason = completion.finish_reason
    if reason not in (None, "stop", "length"):
        raise UnavailableError(f"the engine gave the request up ({reason}); try again")
    logprobs = cast(FlatLogprobs, completion.logprobs)
    return Delta(
        token_ids=completion.token_ids,
        text=completion.text,
        # At each position the sampled token comes first.
        logprobs=[logprobs.logprobs[start] for start in logprobs.start_indices],
        top_logprobs=_likeliest(logprobs, top_logprobs) if top_logprobs else (),
        finish_reason=cast(Literal["stop", "length"] | None, reason),
        cached_tokens=output.num_cached_tokens or 0,
    )


def _likeliest(logprobs: FlatLogprobs, count: int) -> list[list[TokenLogprob]]:
    """The `count` likeliest tokens of each position.

    The sampled token is among them once, twice or not at all, depending on whether vLLM joined
    several steps into one output.
    """
    likeliest = []
    for start, end in zip(logprobs.start_indices, logprobs.end_indices, strict=True):
        by_token = dict(
            zip(logprobs.token_ids[start:end], logprobs.logprobs[start:end], strict=True)
        )
        ranked = sorted(by_token.items(), key=lambda item: -item[1])
        likeliest.append([TokenLogprob(*item) for item in ranked[:count]])
    return likeliest


PARAMS = {"logprobs": "top_logprobs", "input_tokens": "messages", "prompt_token_ids": "messages"}
"""vLLM's names of parameters that the caller knows by other names."""


def refusal(error: VLLMClientError, constraint: Constraint | None) -> RequestError:
    """The error for what vLLM refuses, in the caller's terms."""
    parameter = getattr(error, "parameter", None)
    if parameter is not None:
        return RequestError(str(error.args[0]), param=PARAMS.get(parameter, parameter))
    # vLLM only says that a structural tag is invalid; xgrammar's own message says why.
    cause = error.__cause__
    reason = _plain(str(cause if isinstance(cause, RuntimeError) else error))
    return RequestError(reason) if constraint is None else unheld_schema(reason, constraint)


def unheld_schema(reason: str, constraint: Constraint | None) -> RequestError:
    """Why a constraint can't be made a grammar, in xgrammar's words or ours."""
    param = constraint.param if constraint else "response_format"
    return RequestError(f"decoding can't be held to this schema: {_plain(reason)}", param=param)


def vocabulary(llm: AsyncLLM) -> str:
    """An engine's tokens in xgrammar's serialised form."""
    size = llm.model_config.get_vocab_size()
    return str(
        TokenizerInfo.from_huggingface(llm.get_tokenizer(), vocab_size=size).serialize_json()
    )


def _plain(message: str) -> str:
    """A message of xgrammar's without time, C++ file and failed check."""
    message = re.sub(r"^\[[\d:]+\] \S+: ", "", message.strip())
    return re.sub(r"^Check failed: .*? is false: ", "", message)
