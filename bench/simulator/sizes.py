"""How many entries every container has that an object of gossip holds, however deep: what grows shows."""

from __future__ import annotations

from collections import deque
from typing import Any

OURS = ("tarsd.", "bench.simulator.")
SAMPLED = 64  # elements of one container that are looked into
DEEPEST = 12


def containers(root: object) -> dict[str, int]:
    """Return the size of each container by its path; elements of containers share one path, the largest counts."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    _walk(root, type(root).__name__, found, seen, 0)
    return found


def _walk(thing: Any, path: str, found: dict[str, int], seen: set[int], depth: int) -> None:
    if depth > DEEPEST or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, dict | list | set | frozenset | deque | tuple | bytes | bytearray):
        found[path] = max(found.get(path, 0), len(thing))
        if isinstance(thing, bytes | bytearray):
            return
        elements = list(thing.values() if isinstance(thing, dict) else thing)
        for element in elements[:SAMPLED]:
            _walk(element, path + "[]", found, seen, depth + 1)
    elif isinstance(thing, int) and not isinstance(thing, bool):
        found[path] = max(found.get(path, 0), thing.bit_length() // 8)
    elif any(kind.__module__.startswith(OURS) for kind in type(thing).__mro__):
        for name in _fields(thing):
            _walk(getattr(thing, name, None), f"{path}.{name}", found, seen, depth + 1)


def _fields(thing: object) -> list[str]:
    names = list(getattr(thing, "__dict__", ()))
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return names
