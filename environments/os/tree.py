"""What a directory holds, and whether a player left there what the expert leaves.

A check says what a task is about; a player that wants it to pass may also empty the file it
compares with. So what the expert leaves alone has to be left alone, what it removes has to be gone,
and the text that it writes has to be there. Programs and archives can be written in many ways and
are up to the check, as are the order of lines and whatever else the player made.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from agentlm.environments.os.world import Script
from agentlm.messages import Frozen

# One line per file: type, mode, digest as it is, digest of its sorted lines (- for binary files),
# then name and target of a link, both in base64; of a target only as much as any of ours has, so
# that no player makes the listing too long to be read.
LISTING = Script(
    code=r"""
coded() { printf %s "$1" | base64 -w0; }
digest() { sha256sum | cut -c1-64; }
listed() { if [ $# = 0 ]; then find . -mindepth 1 "${as[@]}"; else find "$@" "${as[@]}"; fi; }
as=(-printf '%y %m %p\0%l\0'); [ $# = 0 ] || as=(-maxdepth 0 "${as[@]}")
listed "$@" |
while IFS= read -r -d '' head && IFS= read -r -d '' target; do
  IFS=' ' read -r type mode _ <<< "${head%%$'\n'*}"; name=${head#* * }; whole=- lines=-
  if [ "$type" = f ]; then
    whole=$(digest < "$name")
    if [ ! -s "$name" ] || grep -Iq '' -- "$name"; then
      lines=$(LC_ALL=C sort < "$name" | digest)
    fi
  fi
  echo "$type $mode $whole $lines $(coded "$name") $(coded "${target:0:200}")"
done
"""
)
"""Prints what is there, or what there is of the paths that it is given."""


class Node(Frozen):
    """A file, directory or link."""

    type: str
    mode: int
    content: str
    """Digest of a file."""
    lines: str
    """Digest of a text's lines, sorted."""
    target: str
    """Where a link leads."""

    @property
    def is_free(self) -> bool:
        """A program or an archive: there is more than one right content."""
        return self.type != "f" or self.lines == "-" or bool(self.mode & 0o111)


Tree = dict[str, Node]


def parse(listing: str) -> Tree:
    """The tree that `LISTING` printed."""
    tree = {}
    for line in listing.splitlines():
        kind, mode, content, lines, name, *target = line.split(" ")
        node = Node(
            type=kind, mode=int(mode, 8), content=content, lines=lines, target="".join(target)
        )
        tree[base64.b64decode(name).decode(errors="surrogateescape")] = node
    return tree


def differences(before: Tree, right: Tree, actual: Tree) -> Iterator[str]:
    """What the player left otherwise than the expert, which made `right` of `before`."""
    for path in sorted(before.keys() | right.keys()):
        wanted, node = right.get(path), actual.get(path)
        if wanted is None:
            if node is not None:
                yield f"{path} is still there"
        elif node is None:
            yield f"{path} is missing"
        elif before.get(path) == wanted:
            if node != wanted:
                yield f"{path} was changed"
        elif not _alike(wanted, node, before.get(path)):
            yield f"{path} is not as it should be"


def _alike(wanted: Node, node: Node, old: Node | None) -> bool:
    if node.type != wanted.type or (old is not None and node.mode != wanted.mode):
        return False
    return wanted.is_free or node.lines == wanted.lines
