"""A tiny Llama that has learned one job in two forms: read a book of six pages, then answer.

It is taught the exact conversations of AgentLM's loop and those of vLLM's Hermes tool calls, so
that both sides of `bench_serve` run the same weights through the same six calls, unforced.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pages import PAGES, page

from agentlm.tools.functions import function_tools
from agentlm.trajectory import Origin
from support.serving import running
from support.tiny import tiny_llama

HERMES = """\
{%- if tools -%}
{{ '<|im_start|>system\\nYou may call functions to do what the user asks. Their signatures:\\n' }}
{%- for tool in tools -%}{{ tool | tojson + '\\n' }}{%- endfor -%}
{{ 'To call one, write its name and arguments as JSON between tags:\\n<tool_call>\\n'
   + '{"name": NAME, "arguments": ARGUMENTS}\\n</tool_call><|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{ '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role == 'assistant' -%}
{{ '<|im_start|>assistant\\n' + ((message.content or '') | trim) }}
{%- for call in message.tool_calls or [] -%}
{{ '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": '
   + (call.function.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor -%}
{{ '<|im_end|>\\n' }}
{%- else -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
ANSWER = "The book is a licence."
_BOOKS = 8
_STEPS = 1500
_SURE = 0.9


def task(number: int) -> str:
    """What a run is asked; each has a number of its own."""
    return f"Book {number:04}: read it to its end, page by page, and say what it is."


@dataclass(frozen=True)
class Lesson:
    """Ids of a conversation, and which of them the model says."""

    ids: list[int]
    own: list[bool]


async def reader_llama(directory: Path) -> Path:
    """Write the model and its Hermes template (`hermes.jinja`); returns `directory`."""
    tiny_llama(directory, context=4096)
    (directory / "hermes.jinja").write_text(HERMES)
    books = random.Random(0).sample(range(10_000), _BOOKS)
    lessons = []
    for book in books:
        with tempfile.TemporaryDirectory() as data:
            lessons.append(await _in_the_loop(Path(data), book))
    lessons += [_by_hermes(directory, book) for book in books]
    _teach(directory, lessons)
    return directory


async def _in_the_loop(data: Path, book: int) -> Lesson:
    """As the server's own record has it."""
    calls = [
        f'Thought: I read up to page {n - 1}.\nAction: page\nAction Input: {{"number": {n}}}'
        for n in range(1, PAGES + 1)
    ]
    replies = [*calls, f"Thought: That was the last page.\nFinal Answer: {ANSWER}"]
    families = {"pages": function_tools([page], "pages")}
    async with running(data, replies, "chatml", {"families": families}) as server:
        await server.client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": task(book)}],
            extra_body={"tools": [{"type": "pages"}]},
        )
        [trajectory] = server.trajectories()
    steps = [(step, step.origin is Origin.SAMPLED) for step in trajectory.steps]
    return Lesson(
        [token for step, _ in steps for token in step.token_ids or ()],
        [own for step, own in steps for _ in step.token_ids or ()],
    )


def _by_hermes(directory: Path, book: int) -> Lesson:
    """As vLLM's chat template has it."""
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)

    def ids(messages: Sequence[dict[str, Any]], *, ask: bool) -> list[int]:
        text = tokenizer.apply_chat_template(
            list(messages),
            tools=[convert_to_openai_tool(page)],
            chat_template=HERMES,
            tokenize=False,
            add_generation_prompt=ask,
        )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    messages: list[dict[str, Any]] = [{"role": "user", "content": task(book)}]
    lesson = Lesson([], [])

    def say(content: str, **more: Any) -> None:
        before = ids(messages, ask=True)
        messages.append({"role": "assistant", "content": content, **more})
        after = ids(messages, ask=False)
        line_break = 1  # the template's, after the end of the turn: nobody samples it
        lesson.own.extend([False] * (len(before) - len(lesson.own)))
        lesson.own.extend([True] * (len(after) - line_break - len(before)))
        lesson.ids[:] = after

    for number in range(1, PAGES + 1):
        call = {"name": "page", "arguments": {"number": number}}
        say(f"I read up to page {number - 1}.", tool_calls=[{"function": call}])
        messages.append({"role": "tool", "content": page(number)})
    say(ANSWER)
    del lesson.ids[len(lesson.own) :]
    return lesson


def _teach(directory: Path, lessons: Sequence[Lesson]) -> None:
    """Train until every token that it has to say is sure."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    order = random.Random(0)
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    sure = 0
    for step in range(_STEPS):
        lesson = lessons[step % 2 * _BOOKS + order.randrange(_BOOKS)]
        # Tools may be described a little otherwise, so what it says must not hang on where it is.
        cut = order.randrange(8)
        ids = torch.tensor([lesson.ids[cut:]])
        labels = ids.masked_fill(~torch.tensor([lesson.own[cut:]]), -100)
        logits = model(input_ids=ids).logits[0, :-1].float()
        wanted = labels[0, 1:]
        kept = wanted >= 0
        losses = torch.nn.functional.cross_entropy(logits[kept], wanted[kept], reduction="none")
        losses.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        sure = sure + 1 if losses.max() < -torch.tensor(_SURE).log() else 0
        if sure == 4 * _BOOKS:
            break
    else:
        raise RuntimeError(f"the tiny model has not learned its job: {json.dumps(losses.tolist())}")
    model.save_pretrained(directory)
