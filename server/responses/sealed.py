"""`reasoning.encrypted_content`: an answer's steps, encrypted, for the client to keep.

If the log does not keep an answer (`store: false`), its client can: the sampled ids, the tools'
results, and the key of their conversation, encrypted and authenticated with a key of this server,
bound to the owner. When the client sends them back with the conversation, it goes on from there.

The seal of each answer has the steps since the previous seal that was sent back, so a
conversation's seals together grow linearly.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import ValidationError

from agentlm.errors import OperatorError, RequestError
from agentlm.files import write_text
from agentlm.messages import Frozen
from agentlm.trajectory import Origin, Step

_FILE = "sealing.key"
_NONCE_BYTES = 12
_FORM = b"agentlm-seal-1:"


class Sealed(Frozen):
    """The content of a seal."""

    key: str
    """Continuation key of the conversation that ends with the answer."""
    after: str | None = None
    """Continuation key of the previous answer, if that answer's own seal has the steps before
    these."""
    steps: tuple[Step, ...]


class Summary(Frozen):
    """The content of a summarised conversation."""

    asked: tuple[str, ...]
    """The user's messages, in full."""
    summary: str
    """A summary of the whole conversation."""


S = TypeVar("S", bound=Frozen)


class Seals:
    """Seals and unseals with one secret key."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

    @classmethod
    def open(cls, directory: Path) -> Seals:
        """Read the key in a server's data directory, or make one. Raises OperatorError."""
        path = directory / _FILE
        if not path.exists():
            with suppress(FileExistsError):  # another server has just made one
                write_text(path, AESGCM.generate_key(256).hex(), replace=False)
        try:
            return cls(bytes.fromhex(path.read_text()))
        except ValueError as error:
            raise OperatorError(
                f"{path} is not a key (64 hexadecimal digits): delete it to have a new one made; "
                "clients can't go on from what they hold then"
            ) from error

    def seal(self, content: Frozen, owner: str) -> str:
        """The sealed form, for the client."""
        plain = zlib.compress(content.model_dump_json(exclude_none=True).encode())
        nonce = os.urandom(_NONCE_BYTES)
        text = self._cipher.encrypt(nonce, plain, _FORM + owner.encode())
        return base64.urlsafe_b64encode(nonce + text).decode()

    def unseal(self, kind: type[S], text: str, owner: str, param: str) -> S:
        """Raises RequestError if it was not sealed here for this owner, or was changed."""
        try:
            raw = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
            nonce, sealed = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            plain = self._cipher.decrypt(nonce, sealed, _FORM + owner.encode())
            return kind.model_validate_json(zlib.decompress(plain))
        except (ValueError, InvalidTag, zlib.error, ValidationError):
            raise RequestError(
                f"{param}: it was not written by this server for this API key, or was changed",
                param=param,
            ) from None


def without_odds(step: Step) -> Step:
    """The part of a step that is needed to continue from it."""
    return step.model_copy(update={"logprobs": None, "single_choice": None, "discarded_ids": ()})


def handed_back(seals: Sequence[Sealed]) -> dict[str, tuple[Step, ...]]:
    """For each answer that seals lead to without a gap, by its continuation key, all steps up to
    it."""
    known = {sealed.key: sealed for sealed in seals}
    whole: dict[str, tuple[Step, ...]] = {}
    for sealed in seals:  # in the order in which they were answered
        before = () if sealed.after is None else whole.get(sealed.after)
        if before is not None and known[sealed.key] is sealed:
            whole[sealed.key] = (*before, *map(_of_before, sealed.steps))
    return whole


def _of_before(step: Step) -> Step:
    """Steps sampled for another trajectory are not learned from in this one."""
    sampled = step.origin is Origin.SAMPLED
    return step.model_copy(update={"origin": Origin.IMPORTED}) if sampled else step
