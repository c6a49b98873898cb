"""What the rest of a node sees of gossip: members, their state and their load."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntFlag, StrEnum

import msgspec

from tarsd.errors import WireError
from tarsd.names import Capability, NodeId, NodeName, Zone

Address = tuple[str, int]  # host (an IP literal once a node was met; a seed may be a name) and port
Attribute = str | int | float | bool | list[str]
Advert = Mapping[Capability, Mapping[str, Attribute]]


class State(StrEnum):
    """How a member is believed to be.

    SUSPECT: start no new work there. DEAD: take its work elsewhere; nothing is ever deleted. LEFT: it said goodbye.
    REVOKED: the core authority threw it out, for good; it is not contacted, and not heard.
    """

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"
    REVOKED = "revoked"


class Flag(IntFlag):
    """What a node says of its own condition, in every datagram."""

    LOADING = 1  # a model is being loaded: it answers, but not this
    BUSY = 2  # a planned stall is announced
    DRAINING = 4  # it finishes what it has and takes nothing new


# queued, running, slots, flags: u16; tokens_per_s: f32; first_token_ms: u16; cpu, memory: u8
_LOAD = struct.Struct(">HHHHfHBB")
LOAD_BYTES = _LOAD.size


class Load(msgspec.Struct, frozen=True):
    """How much a node has to do; 16 bytes on the wire, larger numbers are cut to what fits."""

    queued: int = 0
    running: int = 0
    slots: int = 1
    flags: int = 0  # of `Flag`
    tokens_per_s: float = 0.0  # moving average of one answer's speed; 0 = not measured
    first_token_ms: int = 0  # moving average of the time to the first token; 0 = not measured
    cpu_percent: float = 0.0
    memory_percent: float = 0.0

    def pack(self) -> bytes:
        """Return the 16 bytes."""
        return _LOAD.pack(
            _fit(self.queued, 0xFFFF),
            _fit(self.running, 0xFFFF),
            _fit(self.slots, 0xFFFF),
            self.flags & 0xFFFF,
            max(0.0, min(self.tokens_per_s, 1e9)),
            _fit(self.first_token_ms, 0xFFFF),
            _fit(self.cpu_percent, 0xFF),
            _fit(self.memory_percent, 0xFF),
        )

    @classmethod
    def unpack(cls, data: bytes) -> Load:
        """Return the load in 16 bytes; raises `WireError` for another length."""
        if len(data) != LOAD_BYTES:
            raise WireError(f"a load of {len(data)} bytes, expected {LOAD_BYTES}")
        queued, running, slots, flags, tokens, first, cpu, memory = _LOAD.unpack(data)
        speed = tokens if 0.0 <= tokens <= 1e9 else 0.0  # NaN and infinity would poison a ranking
        return cls(queued, running, slots, flags, speed, first, float(cpu), float(memory))


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One node as this node sees it now.

    `zone` is None until its certificate was seen; such a member is only a hint and gets no work.
    `addresses` are tried in this order; the one that answered last comes first.
    """

    node: NodeId
    name: NodeName
    zone: Zone | None
    state: State
    addresses: tuple[Address, ...]
    generation: int
    incarnation: int
    capabilities: Mapping[Capability, Mapping[str, Attribute]]
    roles: tuple[str, ...]
    load: Load | None  # None = never heard, or older than 3 s
    load_age_s: float
    since_s: float  # for how long it has been in `state`
    last_heard_s: float  # since a sealed datagram or a greeting came from itself
    rtt_ms: float
    loss: float  # share of datagrams lost on the way to it or back, 0 to 1
    reason: str  # why it is in `state`
    version: str
    is_self: bool
    hold_s: float = 0.0  # it flapped: for so many seconds give it work only when nobody else is there
    one_way: bool = False  # we hear it, it does not hear us
    api: tuple[str, ...] = ()  # URLs where people reach it; empty where it listens for its own PC only
    busy_s: float = 0.0  # what is left of a stall that it announced: it may be silent, and gets no new work
    expect_back_s: float = 0.0  # it left and said that it comes back: what is left of that time

    @property
    def routable(self) -> bool:
        """Whether new work may go there: alive, its certificate seen, and it hears us; `hold_s` says how gladly."""
        return self.state is State.ALIVE and self.zone is not None and not self.one_way


class Met(msgspec.Struct, frozen=True):
    """A node that was greeted once: what is kept of it across restarts."""

    node: NodeId
    name: NodeName
    zone: Zone
    addresses: list[Address]
    generation: int


def _fit(number: float, most: int) -> int:
    return max(0, min(int(number), most))
