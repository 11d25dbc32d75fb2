"""Scrubbing: no secret in the log is taught to a model.

detect-secrets' detectors find secrets; personal data is recognised by its form. Each is replaced by
a word for its kind in every text of the trajectory. The recorded ids would still spell the secret,
so they are dropped: the row is rendered anew from its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

from agentlm.finetune.settings import Scrubbing
from agentlm.trajectory import Origin, Step, Trajectory

_PEM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
ASSIGNED = re.compile(r"\b[A-Z0-9_]*(?:KEY|SECRET|TOKEN|PASSWORD|PASSWD)[A-Z0-9_]*=([^\s'\"$]{6,})")
_PERSONAL = {
    "[EMAIL]": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "[IBAN]": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "[CARD]": re.compile(r"\b(?:\d[ -]?){13,16}\b"),
    "[PHONE]": re.compile(r"(?<![\w.])\+\d{1,3}[ ./-]?(?:\(?\d{1,4}\)?[ ./-]?){2,5}\d{2,4}\b"),
}
_SIGNS = tuple(
    re.compile(sign).search
    for sign in (
        r"A(?:3T|BIA|CCA|KIA|SIA|KC\w{10}|P[\dA-F]\w{8}|C[a-z0-9]{32}|ccountKey=)",
        r"GR1348941",
        r"P(?:RIVATE KEY|uTTY-User)",
        r"S(?:K[a-z0-9]{32}|G\.)",
        r"T3BlbkFJ",
        r"X(?i:ox[abposr]-)",
        r"eyJ",
        r"g(?:h[pousr]_|l[a-z]{2,5}-)",
        r"k_live_",
        r"pypi-AgE",
        r"sq0csp-",
        r"x(?i:ox[abposr]-)",
        r"-us\d",
        r"\.[\w-]{6}\.[\w-]{27}",
        r":(?:[\w-]{35}|_authToken=|//(?:\S+@|(?i:hooks\.slack|api.softlayer)))",
    )
)
"""What detectors find contains one of these, or one of the words below. A separate search for each
pattern that begins with a fixed letter is as fast as memory; a combined pattern is not."""
_WORDS = tuple(
    re.compile(word).search for word in ("key", "secret", "token", "p(?:ass|w)", "contrase")
)
"""Beside one of these is a long secret, an assigned one, or beside a name, a quoted one."""
_NAMES = tuple(
    re.compile(name).search
    for name in (
        r"key(?:(?<=[behitv]key)|(?<=_key))",
        r"secret",
        r"p(?:wd|asswd|assword|ass(?:(?<=[bey]pass)|(?<=_pass)))",
        r"contrase",
    )
)
_LONG = 24
_QUOTE = re.compile("['\"`]").search
_EQUALS = re.compile(r"=(?<=[A-Z0-9_]=)[^\s'\"$]{6}").search
_BY_NAME = "secret keyword"
_SHORTEST = 6


def scrub(trajectory: Trajectory, scrubbing: Scrubbing) -> tuple[Trajectory, list[str]]:
    """The trajectory without secrets, and their kinds; if there are none, the same object."""
    if scrubbing == "none":
        return trajectory, []
    whole = "\n".join([step.text for step in trajectory.steps])
    if scrubbing == "secrets" and not suspicious(whole):
        return trajectory, []  # one look is enough for most rows
    kinds: list[str] = []
    texts = [scrub_text(step.text, scrubbing, kinds.append) for step in trajectory.steps]
    if not kinds:
        return trajectory, kinds
    steps = [_without_ids(step, text) for step, text in zip(trajectory.steps, texts, strict=True)]
    return trajectory.model_copy(update={"steps": tuple(steps)}), kinds


def scrub_text(text: str, scrubbing: Scrubbing, note_kind: Callable[[str], None]) -> str:
    """The text with a word for its kind in place of each secret. Calls `note_kind` with each
    kind."""
    for kind, value in _secrets(text):
        if value in text:
            text = text.replace(value, "[SECRET]")
            note_kind(kind)
    if scrubbing == "personal":
        for word, pattern in _PERSONAL.items():
            text, count = pattern.subn(word, text)
            if count:
                note_kind(word.strip("[]").lower())
    return text


def suspicious(text: str) -> bool:
    """Whether a detector may find something. False only if none does, in any line of the text."""
    if any(sign(text) for sign in _SIGNS):
        return True
    folded = text.casefold()
    return any(word(folded) for word in _WORDS) and (
        _EQUALS(text) is not None
        or max(map(len, text.split())) >= _LONG
        or (_is_named(folded) and _QUOTE(text) is not None)
    )


def _secrets(text: str) -> Iterator[tuple[str, str]]:
    if "PRIVATE KEY" in text:
        yield from (("private key", block) for block in _PEM.findall(text))
    if not suspicious(text):
        return
    for line in text.splitlines():
        if suspicious(line):
            yield from _line_secrets(line)


def _is_named(folded: str) -> bool:
    return any(name(folded) for name in _NAMES)


@lru_cache(maxsize=1 << 14)
def _line_secrets(line: str) -> tuple[tuple[str, str], ...]:
    """Kinds and values. Cached, since preambles and listings recur in every row."""
    secrets = [("assignment", value) for value in ASSIGNED.findall(line)]
    named = _is_named(line.casefold())
    for detector in detectors():
        kind = str(detector.secret_type).lower()
        if kind == _BY_NAME and not named:
            continue  # it is the slowest, and looks for those names
        if hasattr(detector, "denylist"):
            matches = (m for pattern in detector.denylist for m in pattern.finditer(line))
            secrets += [(kind, _value(match)) for match in matches]
        else:
            secrets += [(kind, value) for value in detector.analyze_string(line)]
    return tuple(secrets)


def _value(match: re.Match[str]) -> str:
    """The secret in a detector's match: its group, unless that is only a prefix."""
    groups = [group for group in match.groups() if group and len(group) >= _SHORTEST]
    return groups[0] if groups else match.group()


@cache
def detectors() -> list[Any]:
    """detect-secrets' detectors, without those that take any digest or address for a secret."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    guessing = {"Base64 High Entropy String", "Hex High Entropy String", "Public IP (ipv4)"}
    classes = get_mapping_from_secret_type_to_class()
    return [plugin() for kind, plugin in sorted(classes.items()) if kind not in guessing]


def _without_ids(step: Step, text: str) -> Step:
    """The step as text only. Sampled text stays the model's own, and forced text does not."""
    origin = Origin.PROMPT if step.role != "assistant" else step.origin
    return step.model_copy(
        update={
            "text": text,
            "token_ids": None,
            "tokenizer_digest": None,
            "logprobs": None,
            "origin": origin,
        }
    )
