"""Ranks the members that can serve a call. Pure: what is known goes in, an order comes out.

Rules
1. Only members that are alive and hear us, whose certificate was seen, and that advertise the capability.
2. Lab members only where the caller asks for the lab.
3. Members in doubt come after all others, the worst last: they failed us within the last `PENALTY_S`, or flapped, or
   announced a stall, or load a model, or leave. With two PCs a doubtful peer is still better than none.
4. One member is at home: the one that has the conversation's prefix in its cache, else this node (a hop saved is a
   failure less). It is first unless a challenger would answer clearly sooner: by a fifth of what this call alone takes
   there, not of what a queue takes, or a full home would keep what a neighbour could have done.
5. The challengers are two, drawn by a hash of the trace, and the sooner one counts: with figures that are some tenths
   of a second old, everybody's best choice would be the next one's jam (Mitzenmacher: The Power of Two Choices).
6. Expected wait = (this call + what is before it) / what the member does in all with so many at once (`Speed`), against
   the middle of what is known. Who is not known is in the middle; a load older than `STALE_LOAD_S` is unknown.
7. What this node saw itself counts before what a member says: its own calls that a report cannot contain yet are
   added, those that ended since are taken off, its own measure of the rate replaces the reported one, the newer of two
   reports counts.
8. How fast a member is at text: what it measured (`tarsd bench`), corrected by what it does of late where that is less
   or more than its load explains; without a measurement what it does of late, else unknown.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from tarsd import calls
from tarsd.gossip.member import Attribute, Flag, Load, Member
from tarsd.names import Capability, NodeId, TraceId, Zone

PENALTY_S = 10.0
HYSTERESIS = 1.2
STALE_LOAD_S = 3.0  # an older load figure counts as unknown
CHALLENGERS = 2
LOADING_DOUBT_S = 5.0
DRAINING_DOUBT_S = 60.0  # it refuses what comes: after all who might not
MOST_ADVERTISED = 1e9  # a figure beyond it is no speed, and infinity would win every ranking

TEXT = frozenset({calls.CHAT.name, calls.SUMMARIZE.name})  # what a reported rate, in tokens, says something about


class Seen(msgspec.Struct, frozen=True):
    """What this node itself has seen of a member, in one capability."""

    failed_s: float | None = None  # so long ago it failed us; None = not since it last worked
    open_s: tuple[float, ...] = ()  # how long each of our own open calls to it has been open
    ended_s: tuple[tuple[float, float], ...] = ()  # of those that ended lately: how long ago each began and ended
    rate: float = 0.0  # answers (or tokens) per second that it does in all, of late; 0 = not known
    load: Load | None = None  # that came with an answer
    load_age_s: float = 0.0


class Speed(msgspec.Struct, frozen=True):
    """What a member does in all, in answers (or tokens) per second: with one call alone, and with every slot busy."""

    alone: float
    together: float
    slots: int = 1

    def at(self, calls_at_once: int) -> float:
        """Return what it does with so many at once; more than there are slots wait, and change nothing."""
        if self.slots < 2:
            return self.alone
        share = (min(max(calls_at_once, 1), self.slots) - 1) / (self.slots - 1)
        return self.alone + share * (self.together - self.alone)


class Expected(msgspec.Struct, frozen=True):
    """When a member would have answered a new call: with what is before it, and had it nothing else to do."""

    wait: float
    alone: float


_NOTHING = Seen()


def rank(
    members: Sequence[Member],
    capability: Capability,
    *,
    trace: TraceId,
    seen: Mapping[NodeId, Seen],
    home: NodeId | None = None,
    zone: Zone = Zone.CORE,
    exclude: frozenset[NodeId] = frozenset(),
) -> list[Member]:
    """Return the members to try, best first; `home` is who answered the conversation last."""
    able = [m for m in members if m.node not in exclude and _can(m, capability, zone)]
    if len(able) < 2:
        return able
    waits = _waits(able, capability, seen)
    doubts = {m.node: doubt_s(m, seen.get(m.node, _NOTHING)) for m in able}
    able.sort(key=lambda m: (doubts[m.node], waits[m.node].wait, _spread(m, trace)))
    first = _first([m for m in able if not doubts[m.node]], waits, trace, home)
    if first is not None:
        able.remove(first)
        able.insert(0, first)
    return able


def is_free(member: Member, seen: Seen) -> bool:
    """Tell whether `member` is known to have nothing to wait for, and is not in doubt."""
    load, age_s = _load(member, seen)
    return load is not None and not doubt_s(member, seen) and _backlog(load, age_s, seen) < max(1, load.slots)


def is_sooner(free: Member, queue: Member, place: int, capability: Capability, seen: Mapping[NodeId, Seen]) -> bool:
    """Tell whether `free` would have answered a call before `queue`, where it is the `place`-th of those that wait.

    A slow node's free slot is worse than a short queue of a fast one: there an answer takes all its time.
    """
    there = speed(free, capability, seen.get(free.node, _NOTHING))
    here = speed(queue, capability, seen.get(queue.node, _NOTHING))
    there, here = there or here or Speed(1.0, 1.0), here or there or Speed(1.0, 1.0)
    own = seen.get(free.node, _NOTHING)
    calls_at_once = 1 + _backlog(*_load(free, own), own)
    return calls_at_once / there.at(calls_at_once) < (place + here.slots) / here.together


def doubt_s(member: Member, seen: Seen) -> float:
    """Return how much speaks against `member`, in seconds; 0 = nothing (rule 3)."""
    flags = (_load(member, seen)[0] or Load()).flags
    failed = 0.0 if seen.failed_s is None else max(0.0, PENALTY_S - seen.failed_s)
    loading = LOADING_DOUBT_S if flags & Flag.LOADING else 0.0
    draining = DRAINING_DOUBT_S if flags & Flag.DRAINING else 0.0
    return max(failed, member.hold_s, member.busy_s, loading, draining)


def _can(member: Member, capability: Capability, zone: Zone) -> bool:
    return member.routable and member.zone is zone and capability in member.capabilities


def _first(fine: list[Member], waits: Mapping[NodeId, Expected], trace: TraceId, home: NodeId | None) -> Member | None:
    """Return whom to try first among those without doubt (rules 4 and 5)."""
    at_home = next((m for m in fine if m.node == home), None) or next((m for m in fine if m.is_self), None)
    drawn = sorted((m for m in fine if m is not at_home), key=lambda m: _spread(m, trace))[:CHALLENGERS]
    sooner = min(drawn, key=lambda m: waits[m.node].wait, default=None)
    if at_home is None or sooner is None:
        return at_home or sooner
    there = waits[sooner.node]
    return sooner if there.wait + (HYSTERESIS - 1) * there.alone < waits[at_home.node].wait else at_home


def _waits(members: Sequence[Member], capability: Capability, seen: Mapping[NodeId, Seen]) -> dict[NodeId, Expected]:
    """Return when each member would have answered, in answers of a member in the middle (rule 6)."""
    speeds = {m.node: speed(m, capability, seen.get(m.node, _NOTHING)) for m in members}
    known = [found.together for found in speeds.values() if found is not None]
    middle = median(known) if known else 1.0
    waits: dict[NodeId, Expected] = {}
    for member in members:
        own = seen.get(member.node, _NOTHING)
        calls_at_once = 1 + _backlog(*_load(member, own), own)
        found = speeds[member.node] or Speed(middle, middle)
        waits[member.node] = Expected(calls_at_once * middle / found.at(calls_at_once), middle / found.at(1))
    return waits


def speed(member: Member, capability: Capability, seen: Seen) -> Speed | None:
    """Return how fast `member` is at `capability`; None = nothing is known (rules 7 and 8)."""
    if capability not in TEXT:
        return Speed(seen.rate, seen.rate) if seen.rate > 0 else None
    load = _load(member, seen)[0]
    advert = member.capabilities.get(calls.CHAT.name, {})
    at_once = slots(member)
    alone = _number(advert, "speed")
    each = load.tokens_per_s if load is not None else 0.0
    if not alone:  # nothing measured: several at once are taken for no gain
        rate = seen.rate or each * max(1, min(load.running, at_once) if load is not None else 1)
        return Speed(rate, rate, at_once) if rate > 0 else None
    together = _number(advert, "together") or alone
    if seen.rate > 0:
        scale = _beyond(seen.rate, min(alone, together), max(alone, together))
    elif each > 0:
        scale = _beyond(each, min(alone, together / at_once), alone)
    else:
        scale = 1.0
    return Speed(alone * scale, together * scale, at_once)


def slots(member: Member) -> int:
    """Return how many answers `member` generates at once, as it tells."""
    advertised = int(_number(member.capabilities.get(calls.CHAT.name, {}), "slots"))
    return max(1, advertised or (member.load.slots if member.load is not None else 1))


def _beyond(rate: float, low: float, high: float) -> float:
    """Return by what factor `rate` is outside of what the number of answers at once explains; 1 = it is within."""
    return rate / low if rate < low else rate / high if rate > high else 1.0


def _number(attributes: Mapping[str, Attribute], key: str) -> float:
    """Return a figure that a member advertises; 0 for none, and for what cannot be one."""
    value = attributes.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_ADVERTISED:
        return 0.0
    return float(value)


def _load(member: Member, seen: Seen) -> tuple[Load | None, float]:
    """Return the newer of the two reports and its age; None when both are too old (rules 6 and 7)."""
    load, age_s = member.load, member.load_age_s
    if seen.load is not None and (load is None or seen.load_age_s < age_s):
        load, age_s = seen.load, seen.load_age_s
    return (load, age_s) if load is not None and age_s <= STALE_LOAD_S else (None, 0.0)


def _backlog(load: Load | None, age_s: float, seen: Seen) -> int:
    """Return how many calls are before a new one (rule 7)."""
    if load is None:
        return len(seen.open_s)
    unreported = sum(open_s < age_s for open_s in seen.open_s)
    gone = sum(ended_s < age_s <= began_s for began_s, ended_s in seen.ended_s)
    return max(load.queued + load.running + unreported - gone, len(seen.open_s))


def _spread(member: Member, trace: TraceId) -> int:
    return zlib.crc32(f"{trace}{member.node}".encode())


def holder(members: Sequence[Member], capability: Capability, key: str) -> NodeId | None:
    """Return the one live node that rendezvous hashing names for `key` among those that offer `capability`."""
    able = [m.node for m in members if _can(m, capability, Zone.CORE)]
    return max(able, key=lambda node: zlib.crc32(f"{key}{node}".encode()), default=None)
