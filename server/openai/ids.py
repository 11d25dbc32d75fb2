"""One answer has two names: `chatcmpl-HEX` over chat completions, `resp_HEX` over Responses.

The log knows the first. The second is derived from it, so both lead to the same interaction.
"""

from __future__ import annotations

_COMPLETION, _RESPONSE = "chatcmpl-", "resp_"


def response_of(completion_id: str) -> str:
    return _RESPONSE + completion_id.removeprefix(_COMPLETION)


def completion_of(identity: str) -> str:
    """The id in the log. An id that is not a response's stays unchanged."""
    if not identity.startswith(_RESPONSE):
        return identity
    return _COMPLETION + identity.removeprefix(_RESPONSE)
