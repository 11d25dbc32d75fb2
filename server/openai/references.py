"""Whether a finite text is possible under a schema whose references are circular.

`{"properties": {"next": {"$ref": "#"}}, "required": ["next"]}` compiles, but a model constrained by
it never ends. A reference is finite if its target is, counting only what must be present: required
properties, items that are not optional, all of `allOf`, one of `anyOf`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_PASSES = 20
"""Each pass settles references whose targets are settled. In depth-first order few are needed."""


def endless_reference(root: Any) -> str | None:
    """The first reference without a finite text; None: all have one."""
    targets = dict(_targets(root))
    unsettled = set(targets)
    for _ in range(_PASSES):
        left = {name for name in unsettled if not _is_finite(targets[name], unsettled)}
        if left == unsettled:
            return next((name for name in targets if name in left), None)
        unsettled = left
    return None


def _targets(root: Any) -> Iterator[tuple[str, Any]]:
    """References with their targets, in depth-first order."""
    targets: dict[str, Any] = {}
    left = [root]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            name = part.get("$ref")
            if isinstance(name, str) and name not in targets:
                targets[name] = _resolve(root, name)
            left += part.values()
    known = {name: target for name, target in targets.items() if target is not None}
    yield from reversed(known.items())


def _resolve(root: Any, name: str) -> Any:
    """The target of a reference within the document; None: it has none."""
    if name == "#":
        return root
    place = root
    for part in name.removeprefix("#/").split("/") if name.startswith("#/") else ("",):
        key = part.replace("~1", "/").replace("~0", "~")
        place = place.get(key) if isinstance(place, dict) else None
    return place


def _any_is_finite(several: list[Any], unsettled: set[str]) -> bool:
    return not several or any(_is_finite(each, unsettled) for each in several)


def _is_finite(schema: Any, unsettled: set[str]) -> bool:
    left = [schema]
    while left:
        part = left.pop()
        if not isinstance(part, dict):
            continue
        name = part.get("$ref")
        if isinstance(name, str) and name in unsettled:
            return False
        for several in (part.get("anyOf"), part.get("oneOf")):
            if isinstance(several, list) and not _any_is_finite(several, unsettled):
                return False
        left += _musts(part)
    return True


def _musts(part: dict[str, Any]) -> Iterator[Any]:
    """Parts that must be written wherever this part is."""
    every = part.get("allOf")
    yield from every if isinstance(every, list) else ()
    properties, required = part.get("properties"), part.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        yield from (properties.get(name) for name in required if isinstance(name, str))
    least = part.get("minItems")
    if isinstance(least, int) and least > 0:
        yield part.get("items")
