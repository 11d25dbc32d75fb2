"""The YAML files that stand beside the code that reads them."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml


def read_yaml(package: str, name: str) -> dict[str, Any]:
    """One data file of a package."""
    text = (files(package) / name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return loaded
