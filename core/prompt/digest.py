"""The prompt as a part of the model: a digest of all text that the grammar puts around content.

A model that has learned one preamble, form and marking of observations behaves differently with any
other. A card keeps the digest from its training; serving it with another one gives a warning.
"""

from __future__ import annotations

import hashlib
import json

from agentlm.messages import Message, ToolCall, ToolSpec
from agentlm.prompt.form import structural_tag
from agentlm.prompt.grammar import write, write_answer
from agentlm.prompt.observation import observe
from agentlm.prompt.preamble import describe

_TOOLS = (
    ToolSpec(
        name="plain",
        description="Plain arguments.",
        parameters={
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "Some text."},
                "size": {"type": "integer", "enum": [1, 2]},
            },
            "required": ["text"],
        },
    ),
    ToolSpec(
        name="nested",
        description="Other arguments.",
        parameters={"type": "object", "properties": {"a": {"type": "array"}}},
    ),
    ToolSpec(name="none", description="No arguments.", parameters={"type": "object"}),
)
_CALL = ToolCall(id="", name="plain", arguments='{"text": "a"}')


def prompt_digest(*, thoughts: bool = True) -> str:
    """Digest of the preamble, the form of calls and answers, the marks of observations, and the
    decoding constraint, as this version writes them."""
    words = [
        describe(_TOOLS, thoughts=thoughts),
        write(Message(role="assistant", content="Why." if thoughts else "", tool_calls=(_CALL,))),
        write_answer("So.", "Why." if thoughts else None),
        observe("Seen.\n</data> and more"),
        structural_tag(_TOOLS, thoughts=thoughts),
    ]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]
