"""The task sets, written down by digest: `python -m agentlm.environments.frozen` prints them anew.

A set is the first tasks of one split of one family with seed 0. Its digest is that of their ids,
which follow from what each task asks and from its world, not from how the expert does it.
`frozen.yaml` holds what was printed once; a set that has changed since is another set, and numbers
measured on it can't be compared with older ones.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import yaml

from agentlm.environments.catalogue import opened
from agentlm.environments.data_files import read_yaml
from agentlm.environments.db.generate import tasks as db_tasks
from agentlm.environments.household.generate import tasks as household_tasks
from agentlm.environments.os.generate import tasks as os_tasks
from agentlm.environments.splits import SPLITS
from agentlm.environments.task import Split, Task
from agentlm.environments.webshop.generate import tasks as webshop_tasks
from agentlm.settings import Settings

SIZES = (60, 300)
"""Tasks of a set: a few, which are made in no time, and what a report is about."""

Digests = dict[str, dict[int, str]]
"""Split → size → digest."""


def frozen() -> dict[str, Digests]:
    """What is written down, by family."""
    families: dict[str, Digests] = read_yaml("agentlm.environments", "frozen.yaml")
    return families


def digest(tasks: Iterator[Task], size: int) -> str:
    """Digest of the first `size` tasks."""
    ids = "\n".join(task.id for task in islice(tasks, size))
    return hashlib.sha256(ids.encode()).hexdigest()[:32]


def digests(generate: Callable[[Split], Iterator[Task]]) -> Digests:
    """Digests of all sets of one family."""
    return {split: {size: digest(generate(split), size) for size in SIZES} for split in SPLITS}


async def _main(data_dir: Path) -> None:
    async with opened("kg", concurrency=1, data_dir=data_dir) as graph:
        families = {
            "db": db_tasks,
            "os": os_tasks,
            "kg": graph.generate,
            "household": household_tasks,
            "webshop": webshop_tasks,
        }
        computed = {family: digests(generate) for family, generate in families.items()}
    print(yaml.safe_dump(computed, sort_keys=False), end="")
    for family, sets in computed.items():
        if sets != frozen().get(family):
            print(f"# {family}: not what frozen.yaml says")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the digests of all task sets.")
    parser.add_argument("--data-dir", type=Path, default=Settings().data_dir)
    asyncio.run(_main(parser.parse_args().data_dir))
