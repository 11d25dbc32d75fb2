"""The grammar's form as a decoding constraint: xgrammar's structural tag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from agentlm.messages import ToolSpec
from agentlm.prompt.grammar import FINAL_ANSWER, call_lead


def structural_tag(
    tools: Sequence[ToolSpec],
    *,
    thoughts: bool = True,
    answer: bool = True,
    answer_form: dict[str, Any] | None = None,
    control: Sequence[str] = (),
    max_thought_chars: int = 300,
    max_string_chars: int = 1500,
) -> str:
    """The form as xgrammar's structural tag (JSON text): a thought, then one call or the answer.

    Without `thoughts` there is only the call or the answer. `tools` are the calls allowed, `answer`
    says whether a final answer is allowed, `answer_form` is what it is held to. `control` are
    spellings of control tokens that no text may contain. `max_string_chars` limits each string of a
    call, because a small model may never close one. The form ends itself, so the end-of-turn is
    sampled. Raises ValueError if nothing is allowed.
    """
    ends = [_call_form(tool, max_string_chars) for tool in tools]
    if answer:
        ends.append(_sequence(_literal(f"{FINAL_ANSWER} "), *_answer_form(answer_form, control)))
    if not ends:
        raise ValueError("a form needs a tool or an answer")
    thought = {
        "type": "any_text",
        # One line, so that a thought can't swallow the markers that end it, and a small model that
        # begins to repeat itself is forced on to act.
        "excludes": ["\n", *control],
        "max_chars": max_thought_chars,
    }
    end = ends[0] if len(ends) == 1 else {"type": "or", "elements": ends}
    lead = [_literal("Thought: "), _SOMETHING, thought, _literal("\n")] if thoughts else []
    form = _sequence(*lead, end)
    return json.dumps({"type": "structural_tag", "format": form})


_SOMETHING = {"type": "regex", "pattern": "\\S"}


def _answer_form(form: dict[str, Any] | None, control: Sequence[str]) -> list[dict[str, Any]]:
    if form is None:
        return [_SOMETHING, {"type": "any_text", "excludes": list(control)}]
    return [_json_form(form["json_schema"]) if form["type"] == "json_schema" else form]


_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}
"""For a function that names no arguments: if any object were allowed, models would invent some."""


def _call_form(tool: ToolSpec, max_string_chars: int) -> dict[str, Any]:
    lead = _literal(call_lead(tool.name))
    parameters = _NO_ARGUMENTS if tool.parameters == {"type": "object"} else tool.parameters
    return _sequence(lead, _json_form(_bounded(parameters, max_string_chars)))


def _bounded(schema: Any, limit: int) -> Any:
    """A JSON schema whose unbounded strings are limited to `limit` characters."""
    if isinstance(schema, list):
        return [_bounded(item, limit) for item in schema]
    if not isinstance(schema, dict):
        return schema
    bounded = {key: _bounded(value, limit) for key, value in schema.items()}
    if schema.get("type") == "string" and not schema.keys() & {
        "enum",
        "const",
        "pattern",
        "format",
    }:
        own = schema.get("maxLength")
        bounded["maxLength"] = min(own, limit) if isinstance(own, int) else limit
    return bounded


def _json_form(schema: dict[str, Any]) -> dict[str, Any]:
    # Small models loop in white space if it is unbounded.
    return {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 1}


def _literal(text: str) -> dict[str, Any]:
    return {"type": "const_string", "value": text}


def _sequence(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "sequence", "elements": list(elements)}
