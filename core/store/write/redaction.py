"""The part of a record that is kept if its content must not be: counts, times, names of tools.

Everything that a client or a model wrote is removed: text, token ids, arguments, schemas, metadata.
"""

from __future__ import annotations

from agentlm.messages import Message, ToolCall
from agentlm.trajectory import Interaction, Sampling, Step, Trajectory


def audit_header(header: Trajectory) -> Trajectory:
    """The header without tools and metadata, and never training data."""
    return header.model_copy(update={"tools": (), "metadata": {}, "may_train": False})


def audit_step(step: Step) -> Step:
    """The step's facts. Of a call, only the tool's name."""
    return Step(
        role=step.role,
        origin=step.origin,
        text="",
        token_ids=None,
        call=step.call and _audit_call(step.call),
        failed=step.failed,
        finish_reason=step.finish_reason,
        sampling=step.sampling and _audit_sampling(step.sampling),
        weights_version=step.weights_version,
        tokenizer_digest=step.tokenizer_digest,
        started=step.started,
        seconds=step.seconds,
    )


def audit_interaction(interaction: Interaction) -> Interaction:
    """The interaction with empty messages."""
    calls = tuple(_audit_call(call) for call in interaction.response.tool_calls)
    return interaction.model_copy(
        update={
            "messages": (),
            "response": Message(role=interaction.response.role, tool_calls=calls),
            "sampling": _audit_sampling(interaction.sampling),
            "stored": False,
            "metadata": {},
            "echo": {},
        }
    )


def _audit_call(call: ToolCall) -> ToolCall:
    return ToolCall(id="", name=call.name, arguments="")


def _audit_sampling(sampling: Sampling) -> Sampling:
    return sampling.model_copy(update={"stop": (), "logit_bias": {}})
