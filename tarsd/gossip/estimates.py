"""What a node learns of the way to a peer: round trip, loss, and how often to try.

Sources: RFC 6298 (round trip); REFERENCE 2.4 (tries from loss).
"""

from __future__ import annotations

import math

TIMEOUT_MIN_S = 0.02
TIMEOUT_MAX_S = 0.2
TRIES_MIN = 4  # the loss of a new path is not known yet; on a good one the first is answered
TRIES_MAX = 12
MISS_ALL = 1e-4  # the chance that we accept of all tries of a round being lost on a healthy path
_LOSS_WEIGHT = 0.05  # of one try: about 20 tries are remembered
_FAILED_MAX = 0.9  # beyond it a path is not lossy, it is cut


class Path:
    """The measured way to one peer and back, or of this node's own link where it is asked for all peers."""

    __slots__ = ("_failed", "_variation_s", "count", "round_trip_s")

    def __init__(self) -> None:
        self.count = 0  # tries so far
        self.round_trip_s = 0.0  # 0 = not measured
        self._variation_s = 0.0
        self._failed = 0.0  # share of tries without an answer

    def answered(self, round_trip_s: float) -> None:
        """Take one measured round trip."""
        if self.round_trip_s == 0.0:
            self.round_trip_s, self._variation_s = round_trip_s, round_trip_s / 2
            return
        self._variation_s += (abs(round_trip_s - self.round_trip_s) - self._variation_s) / 4
        self.round_trip_s += (round_trip_s - self.round_trip_s) / 8

    def tried(self, answered: bool) -> None:
        """Count one try."""
        self.count += 1
        self._failed += ((0.0 if answered else 1.0) - self._failed) * _LOSS_WEIGHT
        self._failed = min(self._failed, _FAILED_MAX)

    @property
    def timeout_s(self) -> float:
        """How long an answer may take before the next try."""
        if self.round_trip_s == 0.0:
            return TIMEOUT_MAX_S
        return min(max(self.round_trip_s + 4 * self._variation_s, TIMEOUT_MIN_S), TIMEOUT_MAX_S)

    @property
    def loss(self) -> float:
        """The share of datagrams lost one way, taking both ways for equal."""
        return 1.0 - math.sqrt(1.0 - self._failed)

    @property
    def tries(self) -> int:
        """How many tries make it unlikely (`MISS_ALL`) that a healthy peer misses them all."""
        if self._failed <= 0.0:
            return TRIES_MIN
        return min(max(math.ceil(math.log(MISS_ALL) / math.log(self._failed)), TRIES_MIN), TRIES_MAX)


class Flaps:
    """How unsteady a member is: one point for each return within 60 s, halved every 120 s."""

    WINDOW_S = 60.0
    HALF_LIFE_S = 120.0
    HOLD_MAX_S = 30.0

    def __init__(self) -> None:
        self._points = 0.0
        self._at = 0.0
        self._hold_until = 0.0

    def returned(self, now: float, away_s: float) -> None:
        """A dead member is alive again, in the same boot, after `away_s`."""
        if away_s > self.WINDOW_S:
            return
        self._points = self.points(now) + 1.0
        self._at = now
        self._hold_until = now + min(2.0**self._points, self.HOLD_MAX_S)

    def points(self, now: float) -> float:
        """The present penalty."""
        return self._points * math.pow(0.5, (now - self._at) / self.HALF_LIFE_S)

    def hold_s(self, now: float) -> float:
        """For how long it should get no new work yet."""
        return max(0.0, self._hold_until - now)
