"""Where the knowledge graph is: one for a user, unless a data directory has its own."""

from __future__ import annotations

from pathlib import Path

from agentlm.files import shared_place
from agentlm.settings import Settings

DESCRIPTION = "graph.json"
"""In a graph's directory; says what is in it and under which licence."""


def graph_dir(data_dir: Path) -> Path:
    """The graph for this data directory, whether or not it has been built."""
    return shared_place("graph", [data_dir / "graph", Settings.usual_data_dir() / "graph"])


def is_shared(directory: Path, data_dir: Path) -> bool:
    """Whether it is the user's, which follows what is installed; others are left as they are."""
    return directory not in (data_dir / "graph", Settings.usual_data_dir() / "graph")
