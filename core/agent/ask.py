"""What a request wants of every turn of its run, whoever writes the turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from agentlm.messages import ToolSpec
from agentlm.trajectory import Sampling

ToolChoice = Literal["auto", "none", "required"]


@dataclass(frozen=True)
class Ask:
    sampling: Sampling = field(default_factory=Sampling)
    tools: tuple[ToolSpec, ...] = ()
    choice: ToolChoice | frozenset[str] = "auto"
    """What the first turn does: a word of OpenAI's, or the names of tools of which it calls one."""
    thoughts: bool = True
    """When decoding is held to the grammar's form, a turn begins with a thought unless a call is
    forced."""
    allowed: frozenset[str] | None = None
    """Names of the tools that may be called; None: all of them."""
    answer_form: dict[str, Any] | None = None
    """The form of the answer, as an element of xgrammar's structural tag; for a JSON schema it is
    `{"type": "json_schema", "json_schema": …}`."""
    answer_param: str = "response_format"
    """The field of the request that asked for this form."""
    constrained: bool = True
    """Hold decoding to the grammar's form. Without it a turn can be malformed: outcome
    `invalid`."""
    max_string_chars: int = 1500
    """Limit for each string of a call while decoding is constrained."""
    verbatim: bool = False
    """The answer is all of the text, white space included: raw completions."""
    logprobs: bool = False
    """Report the answer's tokens through `on_tokens`."""
    streamed: bool = True
    """The client reads along. Otherwise a turn that nothing can cut short is yielded when it is
    over."""

    def callable(self) -> tuple[ToolSpec, ...]:
        """The tools that may be called now."""
        if self.allowed is None:
            return self.tools
        return tuple(tool for tool in self.tools if tool.name in self.allowed)
