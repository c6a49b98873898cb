"""The clocks of one computer, as the daemon on it sees them.

Rules
1. CLOCK_MONOTONIC runs at its own rate (up to 500 ppm off), and stands still while the computer is suspended.
2. The wall clock may be set to anything at any time. Nothing in gossip may look at it.
"""

from __future__ import annotations


class Clock:
    """Maps the simulation's time to one computer's monotonic time."""

    def __init__(self) -> None:
        self.wall_offset_s = 0.0
        self._rate = 1.0
        self._true = 0.0
        self._shown = 0.0

    def read(self, true: float) -> float:
        """Return the monotonic time at the simulation's time `true`."""
        return self._shown + (true - self._true) * self._rate

    def true_s(self, shown_s: float) -> float:
        """Return how long `shown_s` of this clock really take; the clock must not stand still."""
        return shown_s / self._rate

    def drift(self, true: float, ppm: float) -> None:
        """Run `ppm` parts in a million too fast from now on."""
        self._turn(true, 1.0 + ppm * 1e-6)

    def stop(self, true: float) -> float:
        """Stand still from now on; returns the rate until now, for `go`."""
        rate = self._rate
        self._turn(true, 0.0)
        return rate

    def go(self, true: float, rate: float) -> None:
        """Run again."""
        self._turn(true, rate)

    def _turn(self, true: float, rate: float) -> None:
        self._shown, self._true, self._rate = self.read(true), true, rate
