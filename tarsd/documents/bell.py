"""Wakes everybody who waits for a change of state; who comes late or is slow looks at the state, not at a queue."""

from __future__ import annotations

import asyncio


class Bell:
    """Take `next_ring()` before you look at the state, wait for it after: then no change is missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def next_ring(self) -> asyncio.Event:
        """Return what is set at the next change."""
        return self._event

    def ring(self) -> None:
        """Wake all who wait now."""
        event, self._event = self._event, asyncio.Event()
        event.set()
