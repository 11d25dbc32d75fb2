"""A model without tools, which writes its actions in plain text as AgentInstruct's models do."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from agentlm.environments.agentinstruct import TextGrammar, arguments_text
from agentlm.environments.playing.model_player import ModelPlayer
from agentlm.environments.playing.players import Reply
from agentlm.environments.task import Task
from agentlm.messages import Message, ToolCall, ToolSpec


class TextPlayer:
    """Shows a model the conversation in a text grammar, and reads what it answers."""

    def __init__(self, model: ModelPlayer, grammar: TextGrammar) -> None:
        self.name = model.name
        self._model = model
        self._grammar = grammar

    async def reply(
        self, task: Task, attempt: int, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> Reply:
        messages_so_far = [
            *self._grammar.opening(task.instruction),
            *map(self._plain, messages[1:]),
        ]
        reply = await self._model.reply(task, attempt, messages_so_far, ())
        if reply.answer is None:
            return reply
        reading = self._grammar.read(reply.answer)
        call = None
        if reading.action is not None:
            call = ToolCall(
                id=f"call_{uuid.uuid4().hex}",
                name=reading.action.name,
                arguments=arguments_text(reading.action),
            )
        return replace(
            reply,
            thought=reading.thought,
            call=call,
            answer=reading.answer,
            invalid=reading.invalid,
            text=reply.answer,
        )

    def _plain(self, message: Message) -> Message:
        if message.role == "tool":
            return Message(role="user", content=self._grammar.observation(message.content))
        return Message(role="assistant", content=message.content)
