"""Virtual time: a heap of (time, sequence, event). What is due at one time happens in the order it was planned in."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

Action = Callable[..., object]


class Schedule:
    """The clock of a simulation (seconds, only ever forward) and everything that will happen."""

    def __init__(self, start: float) -> None:
        self.now = start
        self.happened = 0
        self._events: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._events)

    def later(self, after_s: float, action: Action, *arguments: Any) -> None:
        """Let `action(*arguments)` happen after `after_s`."""
        heapq.heappush(self._events, (self.now + after_s, next(self._count), action, arguments))

    def step(self) -> None:
        """Let the next event happen; raises IndexError when there is none."""
        self.now, _, action, arguments = heapq.heappop(self._events)
        self.happened += 1
        action(*arguments)

    def run_until(self, end: float) -> None:
        """Let everything happen up to `end`, and be there."""
        events, pop = self._events, heapq.heappop
        while events and events[0][0] <= end:
            self.now, _, action, arguments = pop(events)
            self.happened += 1
            action(*arguments)
        self.now = end
