"""Which tools may run: allow, deny or ask, for each tool and each key.

    default: allow
    tools:
      bash: ask
      github__*: deny
    keys:
      alice:
        bash: allow

A key's own lines have priority over those for everybody, a name over a pattern, and a longer
pattern over a shorter one. The model does not know of denied tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from agentlm.errors import OperatorError
from agentlm.messages import Frozen

Permission = Literal["allow", "deny", "ask"]


class Permissions(Frozen):
    """The operator's rules for tools."""

    default: Permission = "allow"
    tools: dict[str, Permission] = {}
    """By name of the tool, or by a pattern with `*`."""
    keys: dict[str, dict[str, Permission]] = {}
    """The same for each owner of an API key."""

    def permission(self, tool: str, owner: str) -> Permission:
        """Whether `owner`'s runs may use `tool`."""
        own = _matching(self.keys.get(owner, {}), tool)
        return own or _matching(self.tools, tool) or self.default


def load_permissions(path: Path | None) -> Permissions:
    """The policy in a YAML file. Without a file, everything is allowed. Raises OperatorError."""
    if path is None:
        return Permissions()
    try:
        return Permissions.model_validate(yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        raise OperatorError(f"tool_policy: {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError) as error:
        reason = "; ".join(str(error).split("\n")[:3])
        raise OperatorError(f"tool_policy: {path} is not a policy: {reason}") from error


def _matching(rules: Mapping[str, Permission], tool: str) -> Permission | None:
    if tool in rules:
        return rules[tool]
    patterns = [pattern for pattern in rules if fnmatchcase(tool, pattern)]
    return rules[max(patterns, key=len)] if patterns else None
