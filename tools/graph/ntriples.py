"""Write N-Triples, the plainest form of a graph: every source is converted into it for loading.

Each triple is one string: a million strings take seconds, where a million objects take minutes.
"""

from __future__ import annotations

import json

from agentlm.tools.graph.names import PREFIXES

_XSD = PREFIXES["xsd"]


def link(subject: str, predicate: str, target: str) -> str:
    """Subject, predicate and object are identifiers."""
    return f"<{subject}> <{predicate}> <{target}> .\n"


def text(subject: str, predicate: str, value: str) -> str:
    """The object is a string. JSON's escapes are valid in N-Triples."""
    return f"<{subject}> <{predicate}> {json.dumps(value, ensure_ascii=False)} .\n"


def number(subject: str, predicate: str, value: float) -> str:
    """The object is a number: an attribute that can be compared."""
    kind = "integer" if isinstance(value, int) else "double"
    return f'<{subject}> <{predicate}> "{value}"^^<{_XSD}{kind}> .\n'
