"""A whole answer: what choices that have ended look like together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentlm.prompt.observation import observed
from agentlm.server.chat.choice import Choice
from agentlm.server.openai.answers import finished_choice, prompt_logprobs, reasoning, usage


def completion(choices: Sequence[Choice]) -> dict[str, Any]:
    """A whole `chat.completion`."""
    request = choices[0].request
    shown = {
        "id": request.completion_id,
        "object": "chat.completion",
        "created": int(request.created),
        "model": request.served.name,
        "choices": [_choice(choice) for choice in choices],
        "usage": usage([choice.transcript.usage() for choice in choices]),
    }
    if request.return_token_ids:
        shown["prompt_token_ids"] = choices[0].prompt_ids()
    if (scored := choices[0].scored) is not None:
        shown["prompt_logprobs"] = prompt_logprobs(scored, request.served.token_bytes)
    return shown


def _choice(choice: Choice) -> dict[str, Any]:
    request = choice.request
    shown = finished_choice(choice.index, choice.response(), choice.transcript.finish_reason)
    if request.tools or choice.reasoning:
        shown["message"] |= reasoning("".join(choice.reasoning))
    if request.tools:
        shown["message"]["agent_steps"] = _agent_steps(choice)
    if request.return_token_ids:
        shown["token_ids"] = choice.token_ids()
    if request.ask.logprobs:
        shown["logprobs"] = {"content": choice.take_logprobs(), "refusal": None}
    return shown


def _agent_steps(choice: Choice) -> list[dict[str, Any]]:
    steps = choice.transcript.steps[choice.beginning.recorded :]
    results = {step.tool_call_id: step for step in steps if step.tool_call_id}
    return [
        {
            "id": step.call.id,
            "call": step.call.name,
            "arguments": step.call.arguments,
            "observation": observed(results[step.call.id].text),
            "failed": results[step.call.id].failed,
            "seconds": round(results[step.call.id].seconds, 3),
        }
        for step in steps
        if step.call and step.call.id in results
    ]
