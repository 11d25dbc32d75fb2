"""A model made of rules: it reads the prompt, and keeps to the form that decoding is held to.

It calls the tool that the user names, else the first, unless it has just been told an observation,
is greeted, or is to read something into a form; takes what arguments it must give from what the
user wrote (the last number, the last quoted text); and answers with a sentence. Asked to count it
counts, which takes long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentlm.engine.protocol import Constraint
from agentlm.engine.scripted import ScriptedEngine
from agentlm.prompt.grammar import FINAL_ANSWER
from agentlm.prompt.observation import observed
from agentlm.prompt.render import Renderer


class Responder:
    """A script for `ScriptedEngine` that is written as it is asked; `play` before the first."""

    def play(self, engine: ScriptedEngine, renderer: Renderer) -> None:
        self._engine, self._renderer = engine, renderer

    def __iter__(self) -> Iterator[str]:
        while True:
            request = self._engine.requests[-1]
            prompt = self._renderer.decode_verbatim(request.prompt_ids)
            yield reply(prompt, request.constraint)


def reply(prompt: str, constraint: Constraint | None) -> str:
    """One turn after a ChatML prompt."""
    writer = _Writer(prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0])
    if constraint is None:
        return writer.answer()
    if constraint.json_schema:
        return writer.json(json.loads(constraint.json_schema))
    assert constraint.structural_tag
    return writer.form(json.loads(constraint.structural_tag)["format"])


@dataclass
class _Writer:
    text: str
    """What the user, or a tool, said last."""

    @property
    def observation(self) -> str | None:
        # Something else may stand before it, of a client that says it again.
        _, label, rest = self.text.partition("Observation: ")
        return observed(label + rest) if label else None

    def answer(self) -> str:
        if self.observation is not None:
            return f"The tool says: {self.observation}"
        if count := re.search(r"Count to (\d+)", self.text):
            return " ".join(map(str, range(1, int(count[1]) + 1)))
        return "Hello to you too! 你好."

    def form(self, form: dict[str, Any]) -> str:
        match form["type"]:
            case "sequence":
                return "".join(self.form(element) for element in form["elements"])
            case "const_string":
                return str(form["value"])
            case "regex":  # "\S", before a free text
                return self.answer()[0]
            case "any_text":
                return self.answer()[1:]
            case "json_schema":
                return self.json(form["json_schema"])
            case "or":
                return self.form(self.chosen(form["elements"]))
        raise AssertionError(form)

    def chosen(self, elements: list[Any]) -> Any:
        """Calls come first, the answer last."""
        *calls, last = elements
        if self.observation is not None or self.is_answered_by(json.dumps(last)):
            return last
        words = set(re.findall(r"\w+_\w+", self.text))
        return next((call for call in calls if words & set(_constants(call))), elements[0])

    def is_answered_by(self, last: str) -> bool:
        """Without a call."""
        asked = "The city of|" if "json_schema" in last else ""
        # At the beginning of a line: clients say things of their own before it.
        begun = re.search(f"^({asked}Say hello|Count to)", self.text, re.MULTILINE)
        return FINAL_ANSWER in last and begun is not None

    def json(self, schema: dict[str, Any]) -> str:
        return json.dumps(self.value(schema, schema), ensure_ascii=False)

    def value(self, schema: dict[str, Any], root: dict[str, Any]) -> Any:
        if "$ref" in schema:
            return self.value(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
        if "anyOf" in schema:
            return self.value(schema["anyOf"][0], root)
        if "enum" in schema:
            return schema["enum"][0]
        match schema.get("type", "string"):
            case "object":
                properties = schema.get("properties") or {key: {} for key in self.quoted()}
                musts = schema.get("required") or properties
                return {n: self.value(part, root) for n, part in properties.items() if n in musts}
            case "array":
                return [self.value(schema["items"], root)]
            case "integer" | "number":
                return int((re.findall(r"\d+", self.text) or ["1"])[-1])
            case "boolean":
                return True
        return (self.quoted() or ["some text"])[-1]

    def quoted(self) -> list[str]:
        return re.findall(r"'(\w+)'", self.text)


def _constants(form: dict[str, Any]) -> Iterator[str]:
    """The words that a form prescribes."""
    yield from re.findall(r"\w+", form.get("value", ""))
    for element in form.get("elements", ()):
        yield from _constants(element)
