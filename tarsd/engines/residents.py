"""Pure: which models leave memory, when, and for whom.

Rules
1. A model that answers is never unloaded.
2. Room for another one is made by unloading idle ones, the least recently used first, those that are to stay last, and
   no more than it takes. Where even that would not do, none is unloaded: nobody loses theirs for nothing.
3. What would not fit an empty memory is refused for good, with numbers; what fits only when the busy are done, for now.
4. An idle model leaves when its time is over; one whose time is negative stays.
5. When the PC's own memory runs low the least recently used idle one leaves, one at a time, whatever its time.
6. A fixed one (the node's own model, where it is to stay) is touched by no rule, and its memory counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec


class Occupant(msgspec.Struct, frozen=True):
    """A model in memory; `keep_s` negative = it is to stay. `idle_since` means nothing while it is busy."""

    name: str
    needs_bytes: int
    is_busy: bool = False
    idle_since: float = 0.0
    keep_s: float = 0.0
    is_fixed: bool = False

    @property
    def may_leave(self) -> bool:
        """Rules 1 and 6."""
        return not self.is_busy and not self.is_fixed

    @property
    def leaves_at(self) -> float | None:
        """When its time is over; None = it is not running."""
        return None if not self.may_leave or self.keep_s < 0 else self.idle_since + self.keep_s


class Room(msgspec.Struct, frozen=True):
    """What must be unloaded so that another one fits; or that it does not fit, now or ever."""

    unload: tuple[str, ...] = ()
    fits: bool = True
    could_fit: bool = True  # once the busy ones are done


def make_room(occupants: Sequence[Occupant], needed_bytes: int, bound_bytes: int) -> Room:
    """Decide what leaves for a model of `needed_bytes` (rules 1 to 3, 6)."""
    fixed = sum(one.needs_bytes for one in occupants if one.is_fixed)
    if fixed + needed_bytes > bound_bytes:
        return Room(fits=False, could_fit=False)
    used = sum(one.needs_bytes for one in occupants)
    leaving: list[str] = []
    for one in _in_order(occupants):
        if used + needed_bytes <= bound_bytes:
            break
        used -= one.needs_bytes
        leaving.append(one.name)
    if used + needed_bytes > bound_bytes:
        return Room(fits=False)
    return Room(tuple(leaving))


def expired(occupants: Iterable[Occupant], now: float) -> list[str]:
    """Return whose time is over (rule 4)."""
    return [one.name for one in occupants if one.leaves_at is not None and one.leaves_at <= now]


def next_end(occupants: Iterable[Occupant]) -> float | None:
    """Return when the next one's time is over; None = no time is running."""
    return min((one.leaves_at for one in occupants if one.leaves_at is not None), default=None)


def relief(occupants: Sequence[Occupant], available_bytes: int, reserve_bytes: int) -> str | None:
    """Return who leaves because the PC runs out of memory (rule 5); None = nobody, or it does not."""
    if available_bytes >= reserve_bytes:
        return None
    return next((one.name for one in _in_order(occupants)), None)


def _in_order(occupants: Sequence[Occupant]) -> list[Occupant]:
    """Return who may leave, the first to go first (rule 2)."""
    return sorted((one for one in occupants if one.may_leave), key=lambda one: (one.keep_s < 0, one.idle_since))
