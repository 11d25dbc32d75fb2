"""The place of the knowledge graph: one for each user, unless a data directory has its own."""

from __future__ import annotations

from pathlib import Path

from agentlm.files import shared_place
from agentlm.settings import Settings

DESCRIPTION = "graph.json"
"""File in a graph's directory with its contents and licence."""


def graph_dir(data_dir: Path) -> Path:
    """The graph for this data directory, whether or not it has been built."""
    return shared_place("graph", [data_dir / "graph", Settings.usual_data_dir() / "graph"])


def is_shared(directory: Path, data_dir: Path) -> bool:
    """Whether it is the user's shared graph, which follows what is installed. Others stay as they
    are."""
    return directory not in (data_dir / "graph", Settings.usual_data_dir() / "graph")
