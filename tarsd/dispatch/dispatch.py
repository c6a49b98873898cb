"""Takes a call to whoever can serve it: this node or a peer; the only way between roles.

Rules
1. Candidates come from `routing.rank`, freshly for each attempt; nobody is asked twice in one call.
2. `Unavailable` before the first item moves on to the next candidate at once. Afterwards it is raised: the caller knows
   what it has already shown, we do not.
3. Any other error would be the same everywhere and is raised as it is.
4. A call that came from elsewhere may go on only while it has hops left; without, only this node may serve it.
5. A nested call never outlives the one it serves: its deadline is bounded by `within`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec

from tarsd import calls, routing
from tarsd.errors import DeadlineExceeded, NotFound, PeerLost, Unavailable
from tarsd.gossip.member import Member
from tarsd.names import Capability, NodeId, TraceId, Zone
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

NO_TRACE = TraceId("")

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
    ) -> None:
        self._membership = membership
        self._client = client
        self._handlers = handlers
        self._observe = observe
        self._failures: dict[tuple[NodeId, Capability], float] = {}

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
    ) -> Call[ItemT]:
        """Return the running call; iterate it for the items, `aclose()` (or leave `async with`) to cancel it.

        `only` asks one node and no other. `within` is the call on whose behalf this one is made (rules 4 and 5).
        The items raise what the callee raised, `Unavailable` when nobody can, `DeadlineExceeded`.
        """
        given = spec.deadline_s if deadline_s is None else deadline_s
        headers = calls.Headers(
            deadline_s=given if within is None else min(given, within.deadline_s),
            hops=1 if within is None else within.hops - 1,
            trace=trace or (within.trace if within else NO_TRACE) or new_trace(),
        )
        return Call(self, spec, request, headers, upload, only, exclude, zone)

    async def one(self, spec: calls.CallSpec[RequestT, ItemT], request: RequestT, **options: Any) -> ItemT:
        """Return the single item of a call; options as for `call`. Raises `PeerLost` when none came."""
        return await self.call(spec, request, **options).one()

    def candidates(
        self,
        capability: Capability,
        headers: calls.Headers,
        only: NodeId | None,
        exclude: frozenset[NodeId],
        zone: Zone,
    ) -> list[Member]:
        """Return whom to try for a call, best first."""
        members = [m for m in self._membership.members() if only in (None, m.node) and (headers.hops >= 0 or m.is_self)]
        return routing.rank(
            members,
            capability,
            trace=headers.trace,
            now=time.monotonic(),
            failures={node: at for (node, failed), at in self._failures.items() if failed == capability},
            zone=zone,
            exclude=exclude,
        )

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

    def failed(self, member: Member, capability: Capability, error: Unavailable, seconds: float) -> None:
        """Note that a node could not serve: routing avoids it for a while, gossip looks at it if it was lost."""
        first = (member.node, capability) not in self._failures
        self._failures[member.node, capability] = time.monotonic()
        self._observe(capability, type(error).__name__, seconds)
        log.log(logging.WARNING if first else logging.DEBUG, "%s at %s failed: %s", capability, member.name, error)
        if isinstance(error, PeerLost) and not member.is_self:
            self._membership.observed_failure(member.node)

    def served(self, member: Member, capability: Capability, seconds: float) -> None:
        """Note that a node served a call to its end."""
        self._failures.pop((member.node, capability), None)
        self._observe(capability, "ok", seconds)
        if not member.is_self:
            self._membership.observed_success(member.node)


class Call(Generic[ItemT]):
    """A running call: an async iterator of its items. `member` is who serves it, from the first item on."""

    def __init__(
        self,
        dispatch: Dispatch,
        spec: calls.CallSpec[Any, ItemT],
        request: Any,
        headers: calls.Headers,
        upload: Upload | None,
        only: NodeId | None,
        exclude: frozenset[NodeId],
        zone: Zone,
    ) -> None:
        self._dispatch = dispatch
        self._spec = spec
        self._request = request
        self._headers = headers
        self._upload = upload
        self._only = only
        self.tried = exclude  # who was asked, and who was never to be
        self._zone = zone
        self.member: Member | None = None
        self._items = self._run()

    def __aiter__(self) -> AsyncIterator[ItemT]:
        return self._items

    async def __anext__(self) -> ItemT:
        return await self._items.__anext__()

    async def one(self) -> ItemT:
        """Return the single item and end the call; raises `PeerLost` when none came."""
        async with self:
            async for item in self:
                return item
        raise PeerLost(f"{self._spec.name}: no item came")

    async def aclose(self) -> None:
        """Cancel the call; the callee stops at its next item."""
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self) -> AsyncGenerator[ItemT, None]:
        give_up_at = time.monotonic() + self._headers.deadline_s
        last: Unavailable | None = None
        while True:
            found = self._dispatch.candidates(self._spec.name, self._headers, self._only, self.tried, self._zone)
            if not found:
                raise last or Unavailable(f"no node offers {self._spec.name} right now")
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                raise DeadlineExceeded(f"{self._spec.name}: {self._headers.deadline_s:.1f} s were not enough")
            self.member = member = found[0]
            self.tried |= {member.node}
            shown, began = False, time.monotonic()
            try:
                headers = msgspec.structs.replace(self._headers, deadline_s=left_s)
                async with aclosing(
                    self._dispatch.run(member, self._spec, self._request, headers, self._upload)
                ) as items:
                    async for item in _in_time(items, give_up_at, self._spec.name):
                        shown = True
                        yield item
                self._dispatch.served(member, self._spec.name, time.monotonic() - began)
            except GeneratorExit:  # the reader has what it wanted
                if shown:
                    self._dispatch.served(member, self._spec.name, time.monotonic() - began)
                raise
            except Unavailable as error:
                self._dispatch.failed(member, self._spec.name, error, time.monotonic() - began)
                if shown:
                    raise
                last = error
            else:
                return


async def _in_time(
    items: AsyncGenerator[ItemT, None], until: float, capability: Capability
) -> AsyncGenerator[ItemT, None]:
    """Yield the items; raises `DeadlineExceeded` when they are not all there at `until` (of `time.monotonic`).

    A peer keeps the deadline too; this holds for our own handlers as well.
    """
    while True:
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                item = await anext(items)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise DeadlineExceeded(f"{capability}: the time given was not enough") from None
        yield item
