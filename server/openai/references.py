"""Whether anything finite can be written under a schema whose references lead in circles.

`{"properties": {"next": {"$ref": "#"}}, "required": ["next"]}` compiles, and a model held to it
then never ends. A reference is finite if what it names is, counting only what must be there:
required properties, items that are not optional, all of `allOf`, one of `anyOf`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_PASSES = 20
"""Each pass settles references whose targets are settled; in depth-first order few are needed."""


def endless_reference(root: Any) -> str | None:
    """The first reference under which no finite text is possible; None: there is none."""
    targets = dict(_targets(root))
    unsettled = set(targets)
    for _ in range(_PASSES):
        left = {name for name in unsettled if not _is_finite(targets[name], unsettled)}
        if left == unsettled:
            return next((name for name in targets if name in left), None)
        unsettled = left
    return None


def _targets(root: Any) -> Iterator[tuple[str, Any]]:
    """References with what they name, those that others lead to first."""
    found: dict[str, Any] = {}
    left = [root]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            name = part.get("$ref")
            if isinstance(name, str) and name not in found:
                found[name] = _resolve(root, name)
            left += part.values()
    known = {name: target for name, target in found.items() if target is not None}
    yield from reversed(known.items())


def _resolve(root: Any, name: str) -> Any:
    """What a reference within the document names; None: nothing."""
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
    """What has to be written wherever this is."""
    every = part.get("allOf")
    yield from every if isinstance(every, list) else ()
    properties, required = part.get("properties"), part.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        yield from (properties.get(name) for name in required if isinstance(name, str))
    least = part.get("minItems")
    if isinstance(least, int) and least > 0:
        yield part.get("items")
