"""Ranks the members that can serve a call. Pure: what is known goes in, an order comes out.

Rules
1. Only members that are alive and hear us, whose certificate was seen, and that advertise the capability.
2. Lab members only where the caller asks for the lab.
3. Members in doubt come after all others, the worst last: they failed us within the last `PENALTY_S`, or flapped, or
   announced a stall, or load a model, or leave. With two PCs a doubtful peer is still better than none.
4. One member is at home: the one that has the conversation's prefix in its cache, else this node (a hop saved is a
   failure less). It is first unless a challenger would answer clearly sooner (`HYSTERESIS`).
5. The challengers are two, drawn by a hash of the trace, and the sooner one counts: with figures that are some tenths
   of a second old, everybody's best choice would be the next one's jam (Mitzenmacher: The Power of Two Choices).
6. Expected wait = (this call + what is before it) / rate, against the middle of the known rates. An unknown rate is in
   the middle; a load older than `STALE_LOAD_S` is unknown.
7. What this node saw itself counts before what a member says: its own calls that a report cannot contain yet are
   added, its own measure of the rate replaces the reported one, the newer of two reports counts.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from tarsd import calls
from tarsd.gossip.member import Flag, Load, Member
from tarsd.names import Capability, NodeId, TraceId, Zone

PENALTY_S = 10.0
HYSTERESIS = 1.2
STALE_LOAD_S = 3.0  # an older load figure counts as unknown
CHALLENGERS = 2
LOADING_DOUBT_S = 5.0
DRAINING_DOUBT_S = 60.0  # it refuses what comes: after all who might not

TEXT = frozenset({calls.CHAT.name, calls.SUMMARIZE.name})  # what a reported rate, in tokens, says something about


class Seen(msgspec.Struct, frozen=True):
    """What this node itself has seen of a member, in one capability."""

    failed_s: float | None = None  # so long ago it failed us; None = not since it last worked
    open_s: tuple[float, ...] = ()  # how long each of our own open calls to it has been open
    rate: float = 0.0  # answers (or tokens) per second, of late; 0 = not known
    load: Load | None = None  # that came with an answer
    load_age_s: float = 0.0


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
    able.sort(key=lambda m: (doubts[m.node], waits[m.node], _spread(m, trace)))
    first = _first([m for m in able if not doubts[m.node]], waits, trace, home)
    if first is not None:
        able.remove(first)
        able.insert(0, first)
    return able


def is_free(member: Member, seen: Seen) -> bool:
    """Tell whether `member` is known to have nothing to wait for, and is not in doubt."""
    load, age_s = _load(member, seen)
    return load is not None and not doubt_s(member, seen) and _backlog(load, age_s, seen) < max(1, load.slots)


def doubt_s(member: Member, seen: Seen) -> float:
    """Return how much speaks against `member`, in seconds; 0 = nothing (rule 3)."""
    flags = (_load(member, seen)[0] or Load()).flags
    failed = 0.0 if seen.failed_s is None else max(0.0, PENALTY_S - seen.failed_s)
    loading = LOADING_DOUBT_S if flags & Flag.LOADING else 0.0
    draining = DRAINING_DOUBT_S if flags & Flag.DRAINING else 0.0
    return max(failed, member.hold_s, member.busy_s, loading, draining)


def _can(member: Member, capability: Capability, zone: Zone) -> bool:
    return member.routable and member.zone is zone and capability in member.capabilities


def _first(fine: list[Member], waits: Mapping[NodeId, float], trace: TraceId, home: NodeId | None) -> Member | None:
    """Return whom to try first among those without doubt (rules 4 and 5)."""
    at_home = next((m for m in fine if m.node == home), None) or next((m for m in fine if m.is_self), None)
    drawn = sorted((m for m in fine if m is not at_home), key=lambda m: _spread(m, trace))[:CHALLENGERS]
    sooner = min(drawn, key=lambda m: waits[m.node], default=None)
    if at_home is None or sooner is None:
        return at_home or sooner
    return sooner if waits[sooner.node] * HYSTERESIS < waits[at_home.node] else at_home


def _waits(members: Sequence[Member], capability: Capability, seen: Mapping[NodeId, Seen]) -> dict[NodeId, float]:
    """Return each member's expected wait, in answers of a member in the middle (rule 6)."""
    rates: dict[NodeId, float] = {}
    backlogs: dict[NodeId, int] = {}
    for member in members:
        own = seen.get(member.node, _NOTHING)
        load, age_s = _load(member, own)
        rates[member.node] = own.rate or (load.tokens_per_s if load is not None and capability in TEXT else 0.0)
        backlogs[member.node] = _backlog(load, age_s, own)
    known = [rate for rate in rates.values() if rate > 0]
    middle = median(known) if known else 1.0
    return {node: (1 + backlogs[node]) * middle / (rate if rate > 0 else middle) for node, rate in rates.items()}


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
    return max(load.queued + load.running + unreported, len(seen.open_s))


def _spread(member: Member, trace: TraceId) -> int:
    return zlib.crc32(f"{trace}{member.node}".encode())


def holder(members: Sequence[Member], capability: Capability, key: str) -> NodeId | None:
    """Return the one live node that rendezvous hashing names for `key` among those that offer `capability`."""
    able = [m.node for m in members if _can(m, capability, Zone.CORE)]
    return max(able, key=lambda node: zlib.crc32(f"{key}{node}".encode()), default=None)
