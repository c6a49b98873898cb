"""Replaces the authorities of a running cluster, in three phases, each acknowledged by every live node.

Rules
1. Only where the root's key is can new authorities be made; going on with a change needs it no more.
2. A phase that a live node does not acknowledge is tried `TRIES` times, then left as it is: nothing breaks, and
   `tarsd rotate` goes on there. A member that is suspect counts as live: it has to acknowledge or to be dead.
3. Keys go to core nodes only.
4. Who was off gets what it missed on return: its node id is vouched for, its old certificate is good for coming in, and
   it fetches the rest by itself (`roles.trust`). Everybody is vouched for whose certificate any core node ever saw, in
   this boot or before; lab nodes are not asked: they might name friends.
5. No open connection ends: nodes that take part are vouched for too, whatever certificate a connection began with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from tarsd.calls import TrustItem, TrustRequest
from tarsd.errors import NotAllowed, Unavailable
from tarsd.gossip.member import Member, State
from tarsd.identity import Identity, issuers
from tarsd.identity.rotation import PHASES, Phase, RotationState, begin, has_root, retirement, write_state
from tarsd.names import NodeId, NodeName, Zone

log = logging.getLogger(__name__)

TRIES = 3
TRY_AGAIN_S = 1.0

Answers = list[tuple[Member, TrustItem | None]]


class Tell(Protocol):
    """Says something to members, and returns what each answered."""

    def __call__(self, request: TrustRequest, to: Sequence[Member] | None = None) -> Awaitable[Answers]: ...  # noqa: D102


Certified = frozenset[tuple[NodeId, Zone]]


class RotationReport(msgspec.Struct, frozen=True):
    """How far a replacement of authorities is. `phase` "": none was ever begun here.

    `takes_part`: the core nodes that get, or got, the new keys: a name that nobody knows must be revoked first.
    `off`: who is not there, and gets what it missed on return. `root_at`: the node with the root's key, "" = not found.
    """

    generation: int
    phase: str
    acknowledged: dict[str, list[NodeName]]
    takes_part: list[NodeName]
    off: list[NodeName]
    root_at: str


def report_of(
    identity: Identity, state: RotationState | None, members: Sequence[Member], certified: Certified, root_at: str
) -> RotationReport:
    """Return the report for people; who is only `certified` and was never heard of here is named by its id."""
    ids = {node for node, _ in certified}
    known = [m for m in members if (m.zone is not None or m.node in ids) and m.state is not State.REVOKED]
    core = sorted(m.name for m in known if m.zone is Zone.CORE and _is_live(m))
    strangers = ids - {m.node for m in members} - {identity.node_id}
    off = sorted([*(m.name for m in known if not _is_live(m)), *(NodeName(node[:8]) for node in strangers)])
    if state is None:
        return RotationReport(identity.issuer, "", {}, core, off, root_at)
    return RotationReport(state.generation, state.phase, state.acknowledged, core, off, root_at)


class Rotation:
    """One run of `tarsd rotate`; made anew for each."""

    def __init__(
        self,
        identity: Identity,
        members: Callable[[], Sequence[Member]],
        tell: Tell,
        renewed: Callable[[], Awaitable[bool]],
        certified: Callable[[], Awaitable[Certified]],
    ) -> None:
        self._identity = identity
        self._members = members
        self._tell = tell
        self._renewed = renewed
        self._certified = certified

    async def run(self) -> RotationReport:
        """Go through the phases; raises `Unavailable` (a live node does not acknowledge), `NotAllowed` by rule 1."""
        try:
            state = await asyncio.to_thread(begin, self._identity)
        except NotAllowed as error:
            raise NotAllowed(f"{error}: {await self._where()}") from error
        log.warning("authorities are replaced by number %d: phase %s", state.generation, state.phase)
        phases: dict[Phase, Callable[[RotationState], Awaitable[list[NodeName]]]] = {
            "install": self._install,
            "use": self._use,
            "remove": self._remove,
        }
        while state.phase != "done":
            done = await phases[state.phase](state)
            acknowledged = state.acknowledged | {state.phase: sorted([self._identity.name, *done])}
            log.warning("phase %s of number %d is acknowledged by %s", state.phase, state.generation, ", ".join(done))
            after = PHASES[PHASES.index(state.phase) + 1]
            state = msgspec.structs.replace(state, phase=after, acknowledged=acknowledged)
            await asyncio.to_thread(write_state, self._identity.folder, state)
        root_at = self._identity.name if has_root(self._identity.folder) else ""
        return report_of(self._identity, state, self._members(), await self._certified(), root_at)

    async def _where(self) -> str:
        found = await self._tell(TrustRequest())
        name = next((member.name for member, item in found if item is not None and item.has_root), "")
        if name:
            return f"it is on {name}, run `tarsd rotate` there"
        return (
            "it is where `tarsd init` was run, or where somebody keeps it; put it there, or back here, for the change"
        )

    async def _install(self, state: RotationState) -> list[NodeName]:
        """Phase 1: every live core node holds the new authorities."""
        found = await asyncio.to_thread(issuers.read_issuers, self._identity.folder, state.generation)
        request = TrustRequest(authorities={zone: (s.certificate, s.key) for zone, s in found.items()})
        return await self._all("install", request, lambda item: item.installed >= state.generation, zones={Zone.CORE})

    async def _use(self, state: RotationState) -> list[NodeName]:
        """Phase 2: every live node has a certificate of theirs; core nodes first, since lab nodes ask them."""
        if issuers.using(self._identity.folder) < state.generation:
            await asyncio.to_thread(issuers.use, self._identity.folder, state.generation)
        await self._renewed()
        request = TrustRequest(use=state.generation)
        core = await self._all("use", request, lambda item: item.issuer >= state.generation, zones={Zone.CORE})
        lab = await self._all("use", request, lambda item: item.issuer >= state.generation, zones={Zone.LAB})
        return core + lab

    async def _remove(self, state: RotationState) -> list[NodeName]:
        """Phase 3: the old ones are retired, after whoever came in the meantime has done phases 1 and 2."""
        await self._install(state)
        await self._use(state)
        notices = self._identity.notices
        if notices.minimum < state.generation:
            vouched = await self._certified()
            notices.take(await asyncio.to_thread(retirement, self._identity, state.generation, vouched))
            if notices.minimum < state.generation:
                raise Unavailable("the old authorities could not be retired; run `tarsd rotate` again")
            await asyncio.to_thread(notices.save)
        request = TrustRequest(notices=notices.all()[::-1])
        return await self._all("remove", request, lambda item: item.digest == notices.digest, zones=set(Zone))

    async def _all(
        self, phase: Phase, request: TrustRequest, is_done: Callable[[TrustItem], bool], zones: set[Zone]
    ) -> list[NodeName]:
        """Return who has acknowledged: everybody live of these zones, or it raises `Unavailable` (rule 2)."""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(TRY_AGAIN_S)
            members = [m for m in self._members() if not m.is_self and _is_live(m)]
            live = [m for m in members if m.zone in zones]
            answers = await self._tell(request, live)
            done = {member.node: member.name for member, item in answers if item is not None and is_done(item)}
            missing = [m.name for m in members if m.zone is None or (m.zone in zones and m.node not in done)]
            if not missing:
                return list(done.values())
        raise Unavailable(
            f"{', '.join(missing)} did not acknowledge phase {phase}; nothing is broken: "
            "run `tarsd rotate` again to go on once they answer, or are off"
        )


def _is_live(member: Member) -> bool:
    return member.state in (State.ALIVE, State.SUSPECT)
