"""docs/api.md names every field that a chat request may have, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from agentlm.server.openai.chat_request import ChatRequest

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_every_field_of_a_chat_request_has_its_line() -> None:
    table = PAGE.split("## `POST /v1/chat/completions`")[1].split("\n\n")[1]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]

    assert sorted(named) == sorted(ChatRequest.model_fields)
