"""Whether this node itself is fit to judge others.

Rules
1. A tick that comes more than 250 ms late means that we were not listening: nobody is accused for one probe interval,
   outstanding probes are void, and suspects get the lost time back.
2. Local health 0 to 7 stretches our own timeouts: +1 for a stall, a refutation of ourselves or helpers that did not
   even refuse; -1 for an answered probe.
Source: Lifeguard, LHA-Probe; memberlist `awareness.go`. Rule 1 is ours: a Python loop does stall.
"""

from __future__ import annotations

LATE_S = 0.25
TICK_S = 0.05
WORST = 7


class Health:
    """This node's trust in its own judgement."""

    def __init__(self, calm_s: float) -> None:
        """`calm_s`: how long nobody is accused after a stall."""
        self._calm_s = calm_s
        self._calm_until = 0.0
        self._last_tick: float | None = None
        self.score = 0

    def tick(self, now: float) -> float:
        """Note a tick; returns for how long we stalled before it (0 = not)."""
        last, self._last_tick = self._last_tick, now
        lag = now - last - TICK_S if last is not None else 0.0
        if lag <= LATE_S:
            return 0.0
        self.stalled(now)
        return lag

    def stalled(self, now: float) -> None:
        """We were away until `now`."""
        self._calm_until = now + self._calm_s
        self.worse()

    def worse(self) -> None:
        """Something says that the trouble may be ours."""
        self.score = min(self.score + 1, WORST)

    def better(self) -> None:
        """A probe was answered as it should."""
        self.score = max(self.score - 1, 0)

    def may_accuse(self, now: float) -> bool:
        """Whether our silence from others means anything."""
        return now >= self._calm_until

    @property
    def stretch(self) -> int:
        """By what our intervals and timeouts are multiplied."""
        return 1 + self.score
