"""What nodes say to one another by sealed datagram, and what they exchange at a greeting over mutual TLS.

Structs are arrays on the wire: a new field goes to the end and has a default, an unknown one at the end is ignored.
The bounds here are the decoder's: what exceeds them is refused before anybody looks at it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from tarsd.gossip.member import LOAD_BYTES

PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
MAX_CLAIMS = 32
MAX_FACTS = 128
MAX_FACT_KEY = 64
MAX_FACT_VALUE_BYTES = 1024
MAX_SNAPSHOT = 2048  # members told at a greeting; guards the table of a joiner
MAX_NOTICES_TOLD = 64  # at a greeting
MAX_ADDRESSES = 8  # kept and tried for one member
CARD_ADDRESSES = 2  # told of one member by rumour
MAX_LOADS = 8  # of others, in one answer

U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Count = Annotated[int, Meta(ge=0, le=0xFFFF)]
Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Prefix = Annotated[bytes, Meta(min_length=8, max_length=8)]  # the first 8 bytes of a node's id
Boot = Annotated[bytes, Meta(min_length=8, max_length=8)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Proof = Annotated[bytes, Meta(max_length=64)]  # Ed25519, or empty where the word needs no owner
Packed = Annotated[bytes, Meta(min_length=LOAD_BYTES, max_length=LOAD_BYTES)]
Text = Annotated[str, Meta(max_length=255)]
FactKey = Annotated[str, Meta(min_length=1, max_length=MAX_FACT_KEY)]
FactValue = Annotated[bytes, Meta(max_length=MAX_FACT_VALUE_BYTES)]
Host = Annotated[str, Meta(max_length=64)]  # IPv6 in full with an interface has 55; a card must fit a datagram
WireAddress = tuple[Host, Annotated[int, Meta(ge=1, le=65535)]]


class Word(IntEnum):
    """What a claim says; in the order of precedence at equal generation and incarnation."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Card(msgspec.Struct, frozen=True, array_like=True):
    """Who a boot of a node is, as a member that met it tells: enough to check its signed words, not to give it work."""

    name: Text
    boot: Boot
    signing_key: Key
    addresses: Annotated[tuple[WireAddress, ...], Meta(max_length=CARD_ADDRESSES)] = ()


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A rumour about one node: ALIVE and LEFT carry its owner's proof, SUSPECT and DEAD name the accuser (`by`).

    `card` introduces a node in a cluster too large for everybody to greet everybody.
    """

    node: Id
    word: Word
    generation: U32
    incarnation: U32
    by: Id
    proof: Proof = b""
    card: Card | None = None


class LoadOf(msgspec.Struct, frozen=True, array_like=True):
    """The load of a third node, `age_ms` after the sender heard of it."""

    node: Prefix
    age_ms: Count
    load: Packed


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Are you there? `heard` is the last ping number that the sender had from the receiver."""

    seq: U32
    load: Packed
    state_hash: Prefix
    heard: U32 = 0
    claims: Annotated[list[Claim], Meta(max_length=MAX_CLAIMS)] = []


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """I am here; answers ping `seq`. In a large cluster `loads` tells of others, the freshest first."""

    seq: U32
    load: Packed
    state_hash: Prefix
    claims: Annotated[list[Claim], Meta(max_length=MAX_CLAIMS)] = []
    loads: Annotated[list[LoadOf], Meta(max_length=MAX_LOADS)] = []


class PingRequest(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Please ping `target` for me."""

    seq: U32
    target: Id


class Vouch(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """I have just heard `target`, whom you asked me to ping."""

    seq: U32
    target: Id


class Nack(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """I got your request but have not heard `target`: so your own link is not the trouble."""

    seq: U32
    target: Id


class Rumours(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """News, pushed ahead of the next ping."""

    claims: Annotated[list[Claim], Meta(max_length=MAX_CLAIMS)]


class DigestEntry(msgspec.Struct, frozen=True, array_like=True):
    """How far the sender knows the facts of one node."""

    node: Prefix
    generation: U32
    version: U32


class Digest(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """What I know of everybody's facts; the receiver sends what I lack and (unless `answer`) asks for what it lacks."""

    entries: Annotated[list[DigestEntry], Meta(max_length=48)]
    answer: bool = False


class Fact(msgspec.Struct, frozen=True, array_like=True):
    """One key of a node's facts; an empty value says that the key was withdrawn."""

    key: FactKey
    version: U32
    value: FactValue


class Delta(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The facts of `node` after `since`, up to `version`; `proof` is its signature over the whole set at `version`."""

    node: Id
    generation: U32
    since: U32
    version: U32
    facts: Annotated[list[Fact], Meta(max_length=MAX_FACTS)]
    proof: Proof


class Leave(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """I go: `reason` is stop, restart or upgrade; expected back after so many milliseconds (0 = not)."""

    generation: U32
    incarnation: U32
    reason: Annotated[str, Meta(max_length=32)]
    expect_back_ms: U32
    proof: Proof


class Busy(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """I may be silent for so many milliseconds: suspect me if you must, but do not bury me."""

    for_ms: U32


class Revoked(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """A notice of the core authority, as `identity.notices` writes it: it proves itself, whoever tells it."""

    notice: Annotated[bytes, Meta(max_length=1100)]


Message = Ping | Ack | PingRequest | Vouch | Nack | Rumours | Digest | Delta | Leave | Busy | Revoked


# --- the greeting, over mutual TLS ------------------------------------------------------------------------------


class Known(msgspec.Struct, frozen=True, array_like=True):
    """A third node, as the greeter knows it: a hint, nothing more."""

    node: Id
    name: Text
    generation: U32
    word: Word
    addresses: Annotated[list[WireAddress], Meta(max_length=MAX_ADDRESSES)]
    incarnation: U32 = 0
    boot: Annotated[bytes, Meta(max_length=8)] = b""  # with the key, in a large cluster only: an introduction
    signing_key: Annotated[bytes, Meta(max_length=32)] = b""


class Believed(msgspec.Struct, frozen=True, array_like=True):
    """What the answerer held of the greeter before it greeted."""

    generation: U32
    incarnation: U32
    boot: Boot
    word: Word


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """First contact, in both directions; a map on the wire, so that versions live together."""

    protocol_min: Count
    protocol_max: Count
    generation: U32
    incarnation: U32
    boot: Boot
    exchange_key: Key  # X25519, of this boot
    signing_key: Key  # Ed25519, of this boot
    epoch: Annotated[int, Meta(ge=0, le=255)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    addresses: Annotated[list[WireAddress], Meta(max_length=MAX_ADDRESSES)] = []
    version: Text = ""
    load: Packed = bytes(LOAD_BYTES)
    facts: Delta | None = None
    members: Annotated[list[Known], Meta(max_length=MAX_SNAPSHOT)] = []
    believed: Believed | None = None  # in an answer
    refused: Text = ""  # in an answer: why this greeting was not accepted
    notices: Annotated[list[bytes], Meta(max_length=MAX_NOTICES_TOLD)] = []  # of the core authority
    tell_members: bool = True  # in a greeting: tell me whom you know (`members`)
    state_hash: Annotated[bytes, Meta(max_length=8)] = b""  # ... unless yours is the same
