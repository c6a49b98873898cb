"""Ranks the members that can serve a call. Pure: what is known goes in, an order comes out.

Rules
1. Only members that are alive and hear us, whose certificate was seen, and that advertise the capability.
2. Lab members only where the caller asks for the lab.
3. Members that failed us within the last `PENALTY_S`, or that gossip holds back since they flapped, come after all
   others, the worst last: with two PCs a doubtful peer is still better than none.
4. This node first, unless a peer would answer clearly sooner (`HYSTERESIS`): a hop saved is a failure less.
5. Then by expected wait: what is queued and running. Equal waits are ordered by a hash of the trace,
   so that equal nodes share the questions and one question always meets the same order.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from tarsd.gossip.member import Member
from tarsd.names import Capability, NodeId, TraceId, Zone

PENALTY_S = 10.0
HYSTERESIS = 1.2
STALE_LOAD_S = 3.0  # an older load figure counts as unknown


def rank(
    members: Sequence[Member],
    capability: Capability,
    *,
    trace: TraceId,
    now: float,
    failures: Mapping[NodeId, float],
    zone: Zone = Zone.CORE,
    exclude: frozenset[NodeId] = frozenset(),
) -> list[Member]:
    """Return the members to try, best first; `failures` maps a node to when (on `now`'s clock) it last failed us."""
    able = [m for m in members if m.node not in exclude and _can(m, capability, zone)]
    return sorted(able, key=lambda m: (_penalty(m, now, failures), _wait(m), _spread(m, trace)))


def _can(member: Member, capability: Capability, zone: Zone) -> bool:
    return member.routable and member.zone is zone and capability in member.capabilities


def _penalty(member: Member, now: float, failures: Mapping[NodeId, float]) -> float:
    failed = failures.get(member.node)
    own = 0.0 if failed is None or now - failed > PENALTY_S else PENALTY_S - (now - failed)
    return max(own, member.hold_s)


def _wait(member: Member) -> float:
    """Return the expected wait in questions; a peer's is stretched by the hysteresis, so that equal means here."""
    load = member.load
    known = load is not None and member.load_age_s <= STALE_LOAD_S
    wait = 1.0 + (load.queued + load.running if load is not None and known else 0)
    return wait if member.is_self else wait * HYSTERESIS


def _spread(member: Member, trace: TraceId) -> int:
    return zlib.crc32(f"{trace}{member.node}".encode())


def holder(members: Sequence[Member], capability: Capability, key: str) -> NodeId | None:
    """Return the one live node that rendezvous hashing names for `key` among those that offer `capability`."""
    able = [m.node for m in members if _can(m, capability, Zone.CORE)]
    return max(able, key=lambda node: zlib.crc32(f"{key}{node}".encode()), default=None)
