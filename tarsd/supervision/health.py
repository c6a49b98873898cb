"""Decides whether the node is healthy: named checks in, a verdict out.

Rules
1. A check answers "" when its part is healthy, else the problem in a few words.
2. The event loop is a part too: it is sick when the 95th percentile of its lag over the window is over the limit. One
   long stall is not an illness: while it lasts nobody can ping anyway, and afterwards it is over.
3. The watchdog is answered only between "ready" and "stopping", and only while no vital part has a problem.
4. A note (a part that the node can do without, such as one engine of several) is told to people and gates nothing.
5. A problem is news when it was not there at the last verdict under the same name; its first line is worth a warning,
   its repetitions are not.

The watchdog's patience is the only hysteresis: a ping withheld once costs nothing, one withheld for all of WatchdogSec
restarts the node. Source: systemd's sd_watchdog_enabled(3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LAG_WINDOW_S = 10.0
LAG_LIMIT_S = 0.5
LAG_PERCENTILE = 0.95


class LoopLag:
    """How late the event loop was, over a sliding window; bounded by the window's length and the tick."""

    def __init__(self, window_s: float = LAG_WINDOW_S, max_samples: int = 1000) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, float]] = deque(maxlen=max_samples)

    def add(self, lag_s: float, now: float) -> None:
        """Record that at `now` a tick came `lag_s` later than it was asked for."""
        self._samples.append((now, max(0.0, lag_s)))
        self._forget(now)

    def percentile_s(self, now: float, share: float = LAG_PERCENTILE) -> float:
        """Return the lag that `share` of the window's ticks did not exceed; 0 for an empty window."""
        self._forget(now)
        ordered = sorted(lag for _, lag in self._samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def _forget(self, now: float) -> None:
        while self._samples and self._samples[0][0] < now - self._window_s:
            self._samples.popleft()


@dataclass(frozen=True)
class Verdict:
    """What to do at one beat of the supervisor."""

    ping: bool = False  # answer the watchdog
    problems: tuple[str, ...] = ()  # "name: problem" of the vital parts
    notes: tuple[str, ...] = ()  # "name: problem" of the others
    news: tuple[str, ...] = ()  # those of both that were not there before
    recovered: tuple[str, ...] = ()  # names of the parts that got well since
    sick: frozenset[str] = frozenset()  # names of the parts with a problem


def judge(
    answers: Mapping[str, str],
    notes: Mapping[str, str],
    *,
    lag_s: float,
    serving: bool,
    before: frozenset[str] = frozenset(),
    lag_limit_s: float = LAG_LIMIT_S,
) -> Verdict:
    """Return the verdict on one round of answers.

    `serving` says that the node is between ready and stopping; `before` names the parts that were sick the last time.
    """
    vital = {name: problem for name, problem in answers.items() if problem}
    if lag_s > lag_limit_s:
        vital["event loop"] = f"p95 lag {lag_s:.2f} s"
    other = {name: problem for name, problem in notes.items() if problem and name not in vital}
    told = {name: f"{name}: {problem}" for name, problem in (vital | other).items()}
    return Verdict(
        ping=serving and not vital,
        problems=tuple(told[name] for name in vital),
        notes=tuple(told[name] for name in other),
        news=tuple(line for name, line in told.items() if name not in before),
        recovered=tuple(sorted(before - told.keys())),
        sick=frozenset(told),
    )


def silence(last_s: Callable[[], float], limit_s: float, clock: Callable[[], float]) -> Callable[[], str]:
    """Return a check that is healthy while the time `last_s()` (on `clock`) is no more than `limit_s` ago.

    For everything that ticks: gossip, a store's writer, a worker's pongs.
    """

    def check() -> str:
        age_s = clock() - last_s()
        return "" if age_s <= limit_s else f"silent for {age_s:.1f} s"

    return check
