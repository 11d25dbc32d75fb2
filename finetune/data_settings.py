"""The settings of `agentlm data check` and `agentlm data rehearse`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from agentlm.finetune.settings import DEFAULT_BASE, Filtering, Reading
from agentlm.settings import Settings


class CheckData(Reading, Filtering):
    """Say what files of training data hold, what is left out of them and why.

    Rows are shown as the model would see them, what it would learn to say within ⟦ and ⟧. Nothing
    is trained, nothing is written. docs/data-formats.md shows the formats that can be read.

    agentlm data check rows.jsonl
    agentlm data check chats.parquet --columns messages=conv --base agentlm-7b

    Exit code 1 if a file would not be trained on: too much of it can't be read, or nothing is left.
    """

    files: CliPositionalArg[tuple[str, ...]]
    """Files, directories of files, or data sets on the hub (org/name)."""
    base: str = DEFAULT_BASE
    """The model whose tokenizer and template the rows are for."""
    max_length: int = Field(default=4096, ge=2)
    """Tokens of the longest row, if the model allows so many; longer ones are cut."""
    thoughts: bool = True
    """As in `agentlm finetune`: --no-thoughts is for rows that act without a Thought."""
    show: int = Field(default=1, ge=0)
    """Rows of each file to show."""


class RehearseData(Settings):
    """Ask a served model general questions, and keep its answers as rows to train on beside others.

    agentlm data rehearse --url http://localhost:8000 --model smollm2-135m --output general.jsonl

    An answer that is cut off by its limit is left out: it would teach to stop anywhere, where rows
    are imitated (`agentlm finetune --general-loss imitate`, the default).
    """

    url: str = "http://127.0.0.1:8000"
    """An OpenAI-compatible server."""
    api_key: str | None = None
    """Key for the server."""
    model: str
    """The model to ask: the one that is to be trained."""
    output: Path
    """The file of rows."""
    prompts: str | None = None
    """A file whose first questions are asked (of any format that --data takes); by default those
    that come with AgentLM."""
    text: bool = False
    """Let the model write text that is no answer, from a few first words (by default some that come
    with AgentLM). Without a conversation around it, it keeps likely what others write."""
    keep_cut: bool = False
    """Keep answers that are cut off, for --general-loss distill, which does not imitate their
    end."""
    limit: int = Field(default=600, ge=1)
    """Rows to make; fewer if the questions come to an end."""
    no_tool_share: float = Field(default=0.25, ge=0, le=1)
    """Part of the rows that are shown with tools that don't fit, and answered without."""
    temperature: float = Field(default=1.0, ge=0)
    """At 1 the answers are spread as the model's own are. 0 always takes the likeliest token: a
    model that is trained on such answers finds others' text less likely than before."""
    max_tokens: int = Field(default=256, ge=1)
    """Tokens that one answer may have."""
    concurrency: int = Field(default=16, ge=1)
    """Questions at a time."""
    seed: int = 0
    """Decides the questions and their order, and the model's sampling."""
