"""A whole answer, made from choices that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentlm.prompt.observation import observed
from agentlm.server.chat.choice import Choice
from agentlm.server.openai.answers import finished_choice, prompt_logprobs, reasoning, usage


def completion(choices: Sequence[Choice]) -> dict[str, Any]:
    """A whole `chat.completion`."""
    request = choices[0].request
    body = {
        "id": request.completion_id,
        "object": "chat.completion",
        "created": int(request.created),
        "model": request.served.name,
        "choices": [_choice(choice) for choice in choices],
        "usage": usage([choice.transcript.usage() for choice in choices]),
    }
    if request.return_token_ids:
        body["prompt_token_ids"] = choices[0].prompt_ids()
    if (scored := choices[0].scored) is not None:
        body["prompt_logprobs"] = prompt_logprobs(scored, request.served.token_bytes)
    return body


def _choice(choice: Choice) -> dict[str, Any]:
    request = choice.request
    body = finished_choice(choice.index, choice.response(), choice.transcript.finish_reason)
    if request.tools or choice.reasoning:
        body["message"] |= reasoning("".join(choice.reasoning))
    if request.tools:
        body["message"]["agent_steps"] = _agent_steps(choice)
    if request.return_token_ids:
        body["token_ids"] = choice.token_ids()
    if request.ask.logprobs:
        body["logprobs"] = {"content": choice.take_logprobs(), "refusal": None}
    return body


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
