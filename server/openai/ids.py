"""One answer has two names: `chatcmpl-HEX` over chat completions, `resp_HEX` over Responses.

The log knows the first; the second is spelt from it, so either leads to the same interaction.
"""

from __future__ import annotations

_COMPLETION, _RESPONSE = "chatcmpl-", "resp_"


def response_of(completion_id: str) -> str:
    """The name of an answer over Responses."""
    return _RESPONSE + completion_id.removeprefix(_COMPLETION)


def completion_of(identity: str) -> str:
    """The name that the log knows; what is no response's id stays as it is."""
    if not identity.startswith(_RESPONSE):
        return identity
    return _COMPLETION + identity.removeprefix(_RESPONSE)
