"""Takes a call to whoever can serve it: this node or a peer; the only way between roles.

Rules (those of one call are in `dispatch.call`)
1. Candidates come from `routing.rank`, freshly for each attempt; nobody is asked twice in one call.
2. A call that came from elsewhere may go on only while it has hops left; without, only this node may serve it.
3. A nested call never outlives the one it serves: its deadline is bounded by `within`.
4. What a member does is noted, in `observations`, and counts in the next ranking; gossip looks at it if it was lost.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from tarsd import calls, routing
from tarsd.dispatch.budget import Budget
from tarsd.dispatch.call import Aim, Call
from tarsd.dispatch.observations import Observations
from tarsd.errors import NotFound, PeerLost, Unavailable
from tarsd.gossip.member import Member
from tarsd.names import Capability, ConversationId, NodeId, TraceId, Zone
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

NO_TRACE = TraceId("")

# A first item is overdue after what 95 % of calls took, within these bounds; a chat's prompt may well take a second.
HEDGE_LEAST_S = 0.1
HEDGE_MOST_S = 1.0
HEDGE_CHAT_LEAST_S = 0.5
HEDGE_CHAT_MOST_S = 3.0
LOOK_AFTER_S = 0.02  # after news of a queue, for a free node

RequestT = TypeVar("RequestT", bound=msgspec.Struct)
ItemT = TypeVar("ItemT", bound=msgspec.Struct)

# Makes the upload's bytes from the start, once for each candidate that is tried.
Upload = Callable[[], AsyncIterator[bytes]]

# Told of each attempt: the capability, "ok" or the error's class name, and its seconds.
Observe = Callable[[Capability, str, float], None]


class Membership(Protocol):
    """What dispatch needs of gossip."""

    def members(self) -> Sequence[Member]: ...  # noqa: D102
    def observed_failure(self, node: NodeId) -> None: ...  # noqa: D102
    def observed_success(self, node: NodeId) -> None: ...  # noqa: D102


class Client(Protocol):
    """What dispatch needs of rpc."""

    def call(  # noqa: D102
        self,
        addresses: Sequence[tuple[str, int]],
        expected: NodeId,
        spec: calls.CallSpec[RequestT, ItemT],
        request: RequestT,
        headers: calls.Headers,
        upload: AsyncIterator[bytes] | None = None,
    ) -> AsyncGenerator[ItemT, None]: ...


def new_trace() -> TraceId:
    """Return a fresh trace id."""
    return TraceId(secrets.token_hex(8))


class Dispatch:
    """Finds the candidates of a call and runs it; `handlers` are this node's own."""

    def __init__(
        self,
        membership: Membership,
        client: Client,
        handlers: Mapping[Capability, Handler],
        *,
        observe: Observe = lambda capability, result, seconds: None,
        observations: Observations | None = None,
    ) -> None:
        self._membership = membership
        self._client = client
        self._handlers = handlers
        self._observe = observe
        self.now = time.monotonic
        self.observations = observations or Observations()
        self.budget = Budget(self.now())
        self.waiting: set[Call[Any]] = set()  # calls that may be hedged and whose answer has not begun
        self._looking: asyncio.Handle | None = None

    def call(
        self,
        spec: calls.CallSpec[RequestT, ItemT],
        request: RequestT,
        *,
        trace: TraceId = NO_TRACE,
        deadline_s: float | None = None,
        upload: Upload | None = None,
        only: NodeId | None = None,
        exclude: frozenset[NodeId] = frozenset(),
        within: calls.Headers | None = None,
        zone: Zone = Zone.CORE,
        conversation: ConversationId = ConversationId(""),  # noqa: B008 - a string
        again: bool = False,
    ) -> Call[ItemT]:
        """Return the running call; iterate it for the items, `aclose()` (or leave `async with`) to cancel it.

        `only` asks one node and no other. `within` is the call on whose behalf this one is made (rules 2 and 3).
        `conversation` prefers the node that answered it last. `again`: this repeats a call that was lost in the middle.
        The items raise what the callee raised, `Unavailable` when nobody can, `DeadlineExceeded`.
        """
        given = spec.deadline_s if deadline_s is None else deadline_s
        headers = calls.Headers(
            deadline_s=given if within is None else min(given, within.deadline_s),
            hops=1 if within is None else within.hops - 1,
            trace=trace or (within.trace if within else NO_TRACE) or new_trace(),
        )
        return Call(self, spec, request, headers, Aim(only, exclude, zone, conversation, again), upload)

    async def one(self, spec: calls.CallSpec[RequestT, ItemT], request: RequestT, **options: Any) -> ItemT:
        """Return the single item of a call; options as for `call`. Raises `PeerLost` when none came."""
        return await self.call(spec, request, **options).one()

    def candidates(self, capability: Capability, headers: calls.Headers, aim: Aim) -> list[Member]:
        """Return whom to try for a call, best first."""
        members = [
            m
            for m in self._membership.members()
            if aim.only in (None, m.node) and (headers.hops >= 0 or m.is_self) and capability in m.capabilities
        ]
        now = self.now()
        return routing.rank(
            members,
            capability,
            trace=headers.trace,
            seen=self.observations.seen((m.node for m in members), capability, now),
            home=self.observations.home(aim.conversation, now) if aim.conversation else None,
            zone=aim.zone,
            exclude=aim.exclude,
        )

    def is_free(self, member: Member, capability: Capability) -> bool:
        """Tell whether `member` is known to have nothing else to do."""
        return routing.is_free(member, self.observations.seen((member.node,), capability, self.now())[member.node])

    def is_sooner(self, free: Member, queue: Member, place: int, capability: Capability) -> bool:
        """Tell whether `free` would have answered a call that is the `place`-th of those that wait at `queue`."""
        seen = self.observations.seen((free.node, queue.node), capability, self.now())
        return routing.is_sooner(free, queue, place, capability, seen)

    def overdue_s(self, spec: calls.CallSpec[Any, Any]) -> float:
        """Return after what time the first item of a call is overdue."""
        if spec is calls.CHAT:
            return self.observations.overdue_s(spec.name, HEDGE_CHAT_LEAST_S, HEDGE_CHAT_MOST_S)
        return self.observations.overdue_s(spec.name, HEDGE_LEAST_S, HEDGE_MOST_S)

    def run(
        self,
        member: Member,
        spec: calls.CallSpec[RequestT, ItemT],
        request: RequestT,
        headers: calls.Headers,
        upload: Upload | None,
    ) -> AsyncGenerator[ItemT, None]:
        """Run the call at `member`: this node's handler, or the peer's by rpc."""
        body = upload() if upload else None
        if not member.is_self:
            return self._client.call(member.addresses, member.node, spec, request, headers, body)
        handler = self._handlers.get(spec.name)
        if handler is None:
            raise NotFound(f"this node does not offer {spec.name}")
        return handler(request, CallContext(caller=None, headers=headers, upload=body))

    # --- what is noted --------------------------------------------------------------------------------------------

    def failed(self, member: Member, capability: Capability, error: Unavailable, seconds: float) -> None:
        """Note that a node could not serve: routing avoids it for a while, gossip looks at it if it was lost."""
        first = self.observations.failed(member.node, capability, self.now())
        self._observe(capability, type(error).__name__, seconds)
        log.log(logging.WARNING if first else logging.DEBUG, "%s at %s failed: %s", capability, member.name, error)
        if isinstance(error, PeerLost) and not member.is_self:
            self._membership.observed_failure(member.node)

    def served(self, member: Member, capability: Capability, items: int, first_s: float, all_s: float) -> None:
        """Note that a node served a call, as far as its reader wanted."""
        now, slots = self.now(), routing.slots(member)
        self.observations.served(member.node, capability, items, first_s, all_s, now, slots=slots)
        self._observe(capability, "ok", all_s)
        if not member.is_self:
            self._membership.observed_success(member.node)

    def answered(self, conversation: ConversationId, member: Member | None) -> None:
        """Note who answered a conversation last, to its end: its next question finds the prefix in a cache there."""
        if conversation and member is not None:
            self.observations.answered(conversation, member.node, self.now())

    def overtaken(self, member: Member | None, capability: Capability, asked_at: float) -> None:
        """Note that another one answered before `member`, which was asked at `asked_at`, began to."""
        if member is not None:
            self.observations.slow(member.node, capability, self.now() - asked_at, self.now())
            self._observe(capability, "overtaken", self.now() - asked_at)

    def hedged(self, member: Member, capability: Capability, asked_at: float, trace: TraceId) -> None:
        """Note that `member` is asked beside another one that is overdue."""
        self._observe(capability, "hedged", self.now() - asked_at)
        log.info("%s: %s is overdue, %s is asked too", trace, capability, member.name)

    def moved(self, member: Member, capability: Capability, asked_at: float, trace: TraceId) -> None:
        """Note that `member` is free and is asked beside one in whose queue the call waits."""
        self._observe(capability, "moved", self.now() - asked_at)
        log.info("%s: %s waits in a queue, %s is free and is asked too", trace, capability, member.name)

    def look_for_free(self) -> None:
        """Look soon whether a call that waits in a queue can have a free node: a call ended, or one heard its place.

        Everybody in a queue hears of its new place at about the same time: one look serves all of them.
        """
        if self._looking is None and self.waiting:
            self._looking = asyncio.get_running_loop().call_later(LOOK_AFTER_S, self._move_one)

    def _move_one(self) -> None:
        """Move the call that was asked first; one at a time, so that the next one sees that place taken."""
        self._looking = None
        if not self._is_anybody_free():
            return
        if any(call.move() for call in sorted(self.waiting, key=lambda call: call.asked_at)):
            self._looking = asyncio.get_running_loop().call_soon(self._move_one)

    def _is_anybody_free(self) -> bool:
        able = [m for m in self._membership.members() if m.routable and calls.CHAT.name in m.capabilities]
        seen = self.observations.seen((m.node for m in able), calls.CHAT.name, self.now())
        return any(routing.is_free(m, seen[m.node]) for m in able)

    def load_came(self, node: NodeId, load: bytes) -> None:
        """Take the load that came with an answer; fits `RpcClient.on_load`."""
        self.observations.load_came(node, load, self.now())

    def member_changed(self, member: Member) -> None:
        """Take news of gossip: calls that wait for a member in doubt ask another one too."""
        if not member.routable:
            for call in [call for call in self.waiting if call.member is not None and call.member.node == member.node]:
                call.doubted()
