"""The text forms of AgentInstruct's tasks: no tools are declared, everything is conversation.

Each family has its own way of writing a turn, described to the model in the first message. A model
trained on AgentInstruct expects these forms; ours is trained on the canonical grammar. The forms
are the data set's, the explanations are our own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Protocol

from agentlm.environments.task import Action
from agentlm.messages import Message

_ACKNOWLEDGED = "Ok."


@dataclass(frozen=True, slots=True)
class TextTurn:
    """A turn as read. Exactly one of `action` and `answer` is set, unless `invalid` is."""

    thought: str = ""
    action: Action | None = None
    answer: str | None = None
    invalid: str | None = None


class TextGrammar(Protocol):
    """How one family writes its turns."""

    def opening(self, instruction: str) -> tuple[Message, ...]:
        """The messages before the player's first turn."""
        ...

    def turn(self, thought: str, action: Action | None, answer: str | None) -> str:
        """A turn as the data set writes it."""
        ...

    def observation(self, text: str) -> str:
        """An observation as the next user message."""
        ...

    def read(self, text: str) -> TextTurn:
        """Read a player's turn."""
        ...


class DbTexts:
    """`Action: Operation` with SQL in a code block, or `Action: Answer` with a list."""

    _SQL = re.compile(r"Action:\s*Operation\s*```(?:sql)?\s*(.*?)```", re.S | re.I)
    _ANSWER = re.compile(r"Action:\s*Answer\s*Final Answer:\s*(.*)", re.S | re.I)
    _CHANGED = re.compile(r"\d+ rows? changed\.")

    def opening(self, instruction: str) -> tuple[Message, ...]:
        """Explanation, acknowledgement, task."""
        return (_user(_DB), Message(role="assistant", content=_ACKNOWLEDGED), _user(instruction))

    def turn(self, thought: str, action: Action | None, answer: str | None) -> str:
        """A statement is written on one line."""
        if action is None:
            return f"{thought}\nAction: Answer\nFinal Answer: {answer}"
        statement = " ".join(str(action.arguments["query"]).split())
        return f"{thought}\nAction: Operation\n```sql\n{statement}\n```"

    def observation(self, text: str) -> str:
        """The rows fetched; after a change there are none."""
        return "[]" if self._CHANGED.fullmatch(text) else text

    def read(self, text: str) -> TextTurn:
        thought = re.split(r"Action:", text, maxsplit=1)[0].strip()
        if found := self._SQL.search(text):
            return TextTurn(thought, Action(name="sql", arguments={"query": found[1].strip()}))
        if found := self._ANSWER.search(text):
            return TextTurn(thought, answer=found[1].strip())
        return TextTurn(thought, invalid="neither Action: Operation nor Action: Answer")


class OsTexts:
    """`Act: bash` with a code block, `Act: finish`, or `Act: answer(…)`; the last one counts."""

    _ACT = re.compile(
        r"Act:\s*(?:(?P<bash>bash)\s*```(?:bash|sh)?\s*\n?(?P<command>.*?)```"
        r"|(?P<finish>finish)|answer\((?P<answer>.*?)\)\s*(?=$|\n))",
        re.S | re.I,
    )

    def opening(self, instruction: str) -> tuple[Message, ...]:
        """Explanation, acknowledgement, task."""
        return (_user(_OS), Message(role="assistant", content=_ACKNOWLEDGED), _user(instruction))

    def turn(self, thought: str, action: Action | None, answer: str | None) -> str:
        if action is not None:
            return f"Think: {thought}\n\nAct: bash\n\n```bash\n{action.arguments['command']}\n```"
        act = "finish" if answer == "done" else f"answer({answer})"
        return f"Think: {thought}\n\nAct: {act}"

    def observation(self, text: str) -> str:
        """The output, or a note that there was none."""
        if text == "(no output)":
            return "The output of the OS is empty."
        return f"The output of the OS:\n\n{text}"

    def read(self, text: str) -> TextTurn:
        acts = list(self._ACT.finditer(text))
        thought = re.split(r"Act:", text, maxsplit=1)[0].removeprefix("Think:").strip()
        if not acts:
            return TextTurn(thought, invalid="no Act: bash, finish or answer(…)")
        act = acts[-1]
        if act["bash"]:
            command = act["command"].strip()
            return TextTurn(thought, Action(name="bash", arguments={"command": command}))
        return TextTurn(thought, answer="done" if act["finish"] else act["answer"].strip())


class KgTexts:
    """`Action: function(arguments)`, or `Final Answer: #n`."""

    _CALL = re.compile(r"Action:\s*(\w+)\((.*?)\)\s*(?:$|\n)", re.S)
    _ANSWER = re.compile(r"Final Answer:\s*(.*)", re.S)

    def __init__(self, arguments: dict[str, tuple[str, ...]]) -> None:
        self._arguments = arguments
        """Function → names of its arguments, in order."""

    def opening(self, instruction: str) -> tuple[Message, ...]:
        """Explanation and task in one message."""
        return (_user(f"{_KG}\n\n{instruction}"),)

    def turn(self, thought: str, action: Action | None, answer: str | None) -> str:
        if action is None:
            return f"Thought: {thought}\nFinal Answer: {answer}"
        arguments = ", ".join(str(value) for value in action.arguments.values())
        return f"Thought: {thought}\nAction: {action.name}({arguments})"

    def observation(self, text: str) -> str:
        return text

    def read(self, text: str) -> TextTurn:
        """Text after an invented observation is ignored."""
        own_text = re.split(r"\nObservation:", text, maxsplit=1)[0]
        thought = re.split(r"Action:|Final Answer:", own_text, maxsplit=1)[0]
        thought = thought.removeprefix("Thought:").strip()
        if found := self._CALL.search(own_text):
            names = self._arguments.get(found[1], ())
            values = [value.strip().strip("\"'") for value in found[2].split(",", len(names) - 1)]
            arguments = dict(zip(names, values, strict=False))
            return TextTurn(thought, Action(name=found[1], arguments=arguments))
        if found := self._ANSWER.search(own_text):
            return TextTurn(thought, answer=found[1].strip())
        return TextTurn(thought, invalid="neither an Action nor a Final Answer")


class HouseholdTexts:
    """`THOUGHT:` and `ACTION: go to shelf 1`; there is no final answer."""

    _ACTION = re.compile(r"ACTION:\s*(.+?)\s*(?:$|\n)", re.I)

    def opening(self, instruction: str) -> tuple[Message, ...]:
        """Explanation, acknowledgement, task."""
        known = Message(role="assistant", content=_ACKNOWLEDGED)
        return (_user(_HOUSEHOLD), known, _user(instruction))

    def turn(self, thought: str, action: Action | None, answer: str | None) -> str:
        """This family has no action for an answer."""
        command = action.arguments["command"] if action else answer
        return f"THOUGHT: {thought}\nACTION: {command}"

    def observation(self, text: str) -> str:
        """The observation after the data set's prefix."""
        return f"Observation: {text}"

    def read(self, text: str) -> TextTurn:
        """The first action counts."""
        thought = re.split(r"ACTION:", text, maxsplit=1, flags=re.I)[0]
        thought = re.sub(r"^\s*THOUGHT:", "", thought, flags=re.I).strip()
        if found := self._ACTION.search(text):
            return TextTurn(thought, Action(name="act", arguments={"command": found[1]}))
        return TextTurn(thought, invalid="no ACTION:")


class WebshopTexts:
    """`Thought:` and `Action:` with `search[words]` or `click[element]`; buying is the end."""

    _ACTION = re.compile(r"(search|click)\[(.+?)\]\s*(?:$|\n)", re.I)
    _ARGUMENTS = {"search": "keywords", "click": "element"}

    def opening(self, instruction: str) -> tuple[Message, ...]:
        """Explanation, acknowledgement, task."""
        known = Message(role="assistant", content=_ACKNOWLEDGED)
        return (_user(_WEBSHOP), known, _user(instruction))

    def turn(self, thought: str, action: Action | None, answer: str | None) -> str:
        """This family has no action for an answer."""
        element = f"{action.name}[{next(iter(action.arguments.values()))}]" if action else answer
        return f"Thought:\n{thought}\n\nAction:\n{element}"

    def observation(self, text: str) -> str:
        """The observation after the data set's prefix."""
        return f"Observation:\n{text}"

    def read(self, text: str) -> TextTurn:
        """The first action after `Action:` counts."""
        thought, found, action_text = text.partition("Action:")
        thought = thought.strip().removeprefix("Thought:").strip()
        if found and (action := self._ACTION.search(action_text)):
            name = action[1].lower()
            arguments = {self._ARGUMENTS[name]: action[2]}
            return TextTurn(thought, Action(name=name, arguments=arguments))
        return TextTurn(thought, invalid="no Action: search[…] or click[…]")


def arguments_text(action: Action) -> str:
    """An action's arguments in the form of a call's."""
    return json.dumps(action.arguments, ensure_ascii=False)


def _user(text: str) -> Message:
    return Message(role="user", content=text)


_DB = """\
You will answer questions about a MySQL database, or change it, by running SQL. In every turn say \
first what you think, then act in one of two ways.
To run a statement, which must be on one line:
Action: Operation
```sql
SELECT * FROM `a table` LIMIT 5
```
You then get the rows, or the error; long results are cut. One statement a turn.
To give the final answer, as a list of strings with the values asked for:
Action: Answer
Final Answer: ["first value", "second value"]
After a change of data any answer will do."""

_OS = """\
You will work in a Linux shell to answer questions or to change things. In every turn say first \
what you think, then act in one of three ways.
To run bash code and see what it prints:
Think: why this is needed

Act: bash

```bash
the code
```
When the task is done and no answer is asked for:
Think: why it is done

Act: finish
When the task asks for an answer:
Think: what the answer rests on

Act: answer(the answer)
One act a turn. Long output is cut."""

_KG = """\
You will answer a question with a knowledge graph. You see variables (#0, #1, …) that stand for \
sets of entities, never the sets themselves. In every turn write a thought and one call:
Thought: why this call is needed
Action: function(arguments)
The functions are:
get_relations(entity or #n): the relations that lead on from it
get_neighbors(entity or #n, relation): a variable for what the relation leads to
intersection(#a, #b): a variable for what is in both, which must be of one type
get_attributes(#n): the numeric attributes of its entities
argmax(#n, attribute), argmin(#n, attribute): a variable for the entity with the extreme value
count(#n): how many entities it holds
When a variable holds the answer:
Thought: what the answer rests on
Final Answer: #n"""

_HOUSEHOLD = """\
You will act in a household to do an errand. You are told what is around you and what to do; in \
every turn you get the latest observation. Say first what you think, then one action:
THOUGHT: why this is the next thing to do
ACTION: the action
The actions, with names as you have seen them, numbers included:
go to (place)
open (place)
close (place)
take (thing) from (place)
put (thing) in/on (place)
clean (thing) with (place)
heat (thing) with (place)
cool (thing) with (place)
slice (thing) with (thing)
use (thing)
examine (thing or place)
look
inventory
You carry one thing at a time. If you observe "Nothing happens.", the action is not possible \
there: do another."""

_WEBSHOP = """\
You will buy something in a webshop. In every turn you see a page and what can be done on it; \
there is a search bar only where that says so, and only what is listed can be clicked. Say first \
what you think, then one action:
Thought:
why this is the next thing to do

Action:
click[an element of the list]
or, with words of your own:
Action:
search[words]"""
