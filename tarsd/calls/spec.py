"""What a capability is called, what it takes and yields, who may call it, and what travels beside each request."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from tarsd.names import Capability, TraceId, Zone

RequestT = TypeVar("RequestT", bound=msgspec.Struct)
ItemT = TypeVar("ItemT", bound=msgspec.Struct)


class CallSpec(msgspec.Struct, Generic[RequestT, ItemT], frozen=True):
    """What a capability is called, what it takes and yields, and who may call it.

    `zones`: the zones whose nodes may call it; enforced at the callee.
    `deadline_s`: the time a caller gives by default.
    `uploads`: the request is followed by raw bytes.
    `hedge`: it has no effects and a person waits for it, so a second node may be asked when the first one is overdue.
    """

    name: Capability
    request: type[RequestT]
    item: type[ItemT]
    deadline_s: float
    zones: frozenset[Zone] = frozenset({Zone.CORE})
    uploads: bool = False
    hedge: bool = False


class Headers(msgspec.Struct, frozen=True):
    """What travels with each call beside its request."""

    deadline_s: float  # time left, relative, so that no clocks are compared
    hops: int  # 1 from a client, 0 after a forward
    trace: TraceId
