"""Which clients there are, and the environments that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Environment = Literal["openai3", "openai2"]
"""By the major version of OpenAI's package that its clients allow."""


@dataclass(frozen=True)
class Client:
    """A library of the field, as it is installed and called."""

    name: str
    """Also the package whose version the table gives."""
    file: str
    """In `clients/`."""
    environment: Environment
    requirements: tuple[str, ...]
    few: bool = False
    """One of those that continuous integration plays."""


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
)
