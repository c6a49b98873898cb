"""What happened in a run: a hash over everything, and a story of what matters.

Rules
1. The hash takes every event with its exact time and bytes: two runs of one seed have the same one.
2. The story has what a person wants to read after a failure: faults, verdicts, greetings, alarms; the latest of it.
3. Into a file, on demand, goes one line for each event.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import IO, NamedTuple

STORY_MAX = 20_000  # guards memory in runs of many hours


class Happening(NamedTuple):
    """One line of the story."""

    at: float
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.at:12.3f}  {self.who:8} {self.what}"


class Trace:
    """Collects what happens."""

    def __init__(self, into: IO[str] | None = None) -> None:
        self._digest = hashlib.sha256()
        self._into = into
        self._lines: deque[Happening] = deque(maxlen=STORY_MAX)
        self.hashing = True

    def event(self, at: float, kind: str, one: str, other: str, data: bytes = b"") -> None:
        """Take an event; `data` are its bytes."""
        if not self.hashing:
            return
        self._digest.update(f"{at!r} {kind} {one} {other} ".encode() + data)
        if self._into:
            self._into.write(f"{at:.6f} {kind} {one} {other} {data.hex()}\n")

    def tell(self, at: float, who: str, what: str) -> None:
        """Take something for the story, and for the hash."""
        self.event(at, "story", who, what)
        self._lines.append(Happening(at, who, what))

    @property
    def sha256(self) -> str:
        """Return the hash over everything so far."""
        return self._digest.hexdigest()

    def story(self, nodes: tuple[str, ...] = (), since: float = 0.0) -> list[str]:
        """Return the story of `nodes` (all of them when none is named) from `since` on."""
        return [
            str(line)
            for line in self._lines
            if line.at >= since and (not nodes or any(node in (line.who, *line.what.split()) for node in nodes))
        ]
