"""Text that is no conversation: `{"text": "…"}`, as corpora have it."""

from __future__ import annotations

from agentlm.exchange.conversation import TEMPLATE_MARK
from agentlm.exchange.keys import check_keys
from agentlm.exchange.spelling import COMMON_KEYS, Common
from agentlm.exchange.turns import imported, imported_step, parse_row
from agentlm.trajectory import Trajectory

PLAIN = "plain_text"
"""The key in metadata that says that no template belongs around an imported text."""


class _Text(Common):
    text: str


def from_text(row: object) -> Trajectory:
    """All of it is learned, word by word, without a template. A rendered conversation is refused:
    its questions would be learned too."""
    parsed = parse_row(_Text, row)
    assert isinstance(row, dict)
    check_keys(row, COMMON_KEYS | {"text"}, [parsed.text])
    if not parsed.text.strip():
        raise ValueError("text: it is empty")
    if parsed.tools or parsed.system:
        raise ValueError("text: it is no conversation, so it has neither tools nor a system text")
    if mark := TEMPLATE_MARK.search(parsed.text):
        raise ValueError(
            f"text: a conversation in a chat template's spelling, got {mark[0]!r}; give its turns "
            "as messages, so that only the model's own are learnt"
        )
    made = imported([imported_step("assistant", parsed.text)], [True], task_id=None)
    made.metadata[PLAIN] = True
    return made


def is_plain(trajectory: Trajectory) -> bool:
    """Whether it was read as text that is no conversation."""
    return trajectory.source == "import" and trajectory.metadata.get(PLAIN) is True
