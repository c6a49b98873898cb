"""The few statistics that the benches need, as pure functions.

Rules
1. A spread is told as median and range: with a handful of runs on a shared machine a standard deviation says little.
2. A percentile is a value that was measured (nearest rank), never an interpolation.
3. A slope is Theil-Sen: one garbage collection or one busy neighbour does not tilt it. Its interval is Sen's, from
   Kendall's variance. Source: Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63, 1968.
4. Samples of one process taken close together are not independent, which would make the interval too narrow. So a
   series is cut into blocks, and the blocks' medians are fitted.
5. A process warms up at first: the first fifth, at most an hour, is left out. What remains must span ten minutes to be
   worth a word about hours.
6. "Stable" needs the whole interval below the limit; "grows" needs the whole of it above. Between them the honest word
   is "undecided": measure for longer.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BLOCKS = 60
MIN_BLOCKS = 8  # below it no interval of 95 % exists that means anything
MIN_SPAN_S = 600.0
WARM_UP_SHARE = 0.2
WARM_UP_MAX_S = 3600.0


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that `share` of all do not exceed; raises `ValueError` for no samples."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def paired_ratios(measured: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Return each measured value over its neighbour in time; both were taken in alternation."""
    return [one / other for one, other in zip(measured, reference, strict=True) if other]


@dataclass(frozen=True)
class Slope:
    """Change per second, with its 95 % interval."""

    per_s: float
    low: float
    high: float

    @property
    def per_hour(self) -> tuple[float, float, float]:
        """Return low, estimate and high per hour."""
        return self.low * 3600, self.per_s * 3600, self.high * 3600


def theil_sen(times_s: Sequence[float], values: Sequence[float], z: float = 1.96) -> Slope:
    """Return the median of all pairwise slopes and Sen's interval; at least 3 points at different times."""
    slopes = sorted(
        (values[j] - values[i]) / (times_s[j] - times_s[i])
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if times_s[j] != times_s[i]
    )
    if len(slopes) < 3:
        raise ValueError("a slope needs at least 3 points")
    n = len(values)
    reach = z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - reach) / 2) - 1)
    high = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return Slope(statistics.median(slopes), slopes[low], slopes[high])


def blocks(times_s: Sequence[float], values: Sequence[float], count: int = BLOCKS) -> tuple[list[float], list[float]]:
    """Return the medians of at most `count` equal runs of the series."""
    size = max(1, math.ceil(len(values) / count))
    cut = [slice(at, at + size) for at in range(0, len(values), size)]
    return [statistics.median(times_s[part]) for part in cut], [statistics.median(values[part]) for part in cut]


@dataclass(frozen=True)
class Growth:
    """Whether a series grows, with the slope that says so (none for a series too short to have one)."""

    verdict: Literal["stable", "grows", "undecided"]
    slope: Slope | None


def warm_from(times_s: Sequence[float]) -> int:
    """Return the index of the first sample after the warm-up (rule 5)."""
    if not times_s:
        return 0
    from_s = times_s[0] + min(WARM_UP_SHARE * (times_s[-1] - times_s[0]), WARM_UP_MAX_S)
    return next(index for index, at in enumerate(times_s) if at >= from_s)


def growth(times_s: Sequence[float], values: Sequence[float], *, limit_per_hour: float) -> Growth:
    """Return the verdict on a series, after its warm-up, against the growth that is still called stable."""
    start = warm_from(times_s)
    block_times, block_values = blocks(times_s[start:], values[start:])
    if len(block_values) < MIN_BLOCKS:
        return Growth("undecided", None)
    slope = theil_sen(block_times, block_values)
    low, _, high = slope.per_hour
    if times_s[-1] - times_s[start] < MIN_SPAN_S:
        return Growth("undecided", slope)
    if high <= limit_per_hour:
        return Growth("stable", slope)
    return Growth("grows" if low > limit_per_hour else "undecided", slope)
