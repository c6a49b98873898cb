"""What the core authority says to all nodes, for good: this node is revoked; authorities below this one are retired.

Rules
1. A notice counts when a core authority of this cluster signed it, whose certificate (it comes along) the root signed.
2. An authority can retire those before it, never itself or later ones.
3. Notices only add up: nothing takes one back. A revoked node that joins again is another node, with another key.
   Of retirements the highest says all that the others said.

Pure: bytes in, bytes out. `cryptography.x509` is imported only when there is a notice to read or write.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from tarsd.errors import InvalidInput, NotAllowed
from tarsd.identity.folder import Signed
from tarsd.names import NodeId, Zone

MAX_REASON = 200
MAX_NOTICE_BYTES = 64 * 1024  # a retirement names every node of the cluster, in 16 bytes each
NODE_BYTES = 16
_HEAD = b"tarsd notice 1"
# Terminals and logs show these texts: what moves a cursor, ends a line or turns the writing round is refused.
_UNPRINTABLE = "\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069"
_PLAIN = rf"\A[^{_UNPRINTABLE}]*\Z"

NodeBytes = Annotated[bytes, Meta(min_length=NODE_BYTES, max_length=NODE_BYTES)]
NameText = Annotated[str, Meta(max_length=64, pattern=_PLAIN)]
Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]  # since 1970, up to the year 9999: more is no date


class Revocation(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """`node` is no member of this cluster any more: at `at` (seconds since 1970), by the node named `by`."""

    node: NodeBytes
    name: NameText
    at: Seconds
    reason: Annotated[str, Meta(max_length=MAX_REASON, pattern=_PLAIN)] = ""
    by: NameText = ""

    @property
    def node_id(self) -> NodeId:
        """The node's id."""
        return NodeId(self.node.hex())

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.at))
        return f"{self.name} was revoked on {when} by {self.by or 'a core node'}" + (
            f": {self.reason}" if self.reason else ""
        )


class Retirement(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Certificates of authorities before `generation` are refused, but those of vouched nodes in their zones.

    `core` and `lab` hold the ids of the vouched nodes of that zone, `NODE_BYTES` each, one after the other.
    Who held an old authority's key can make certificates with it, but not for the keys of nodes that are known.
    """

    generation: Annotated[int, Meta(ge=2)]
    at: Seconds
    core: bytes = b""
    lab: bytes = b""

    def vouched(self) -> frozenset[tuple[NodeId, Zone]]:
        """Return the nodes whose older certificates are good in their zone."""
        return frozenset(
            (NodeId(ids[start : start + NODE_BYTES].hex()), zone)
            for ids, zone in ((self.core, Zone.CORE), (self.lab, Zone.LAB))
            for start in range(0, len(ids), NODE_BYTES)
        )


class Notice(NamedTuple):
    """A notice whose signature holds; `signer` is the generation of the authority that signed it."""

    raw: bytes
    body: Revocation | Retirement
    signer: int

    @property
    def key(self) -> bytes:
        """What it is about: of two with the same key one is enough."""
        if isinstance(self.body, Revocation):
            return b"r" + self.body.node
        return b"g" + self.body.generation.to_bytes(4, "big")

    @property
    def mark(self) -> bytes:
        """Its share (8 bytes) of the hash by which two nodes see that one of them lacks a notice."""
        return hashlib.blake2b(b"notice" + self.key, digest_size=8).digest()


def plain(text: str) -> str:
    """Return `text` as a notice takes it."""
    return re.sub(f"[{_UNPRINTABLE}]", "?", text)


def retire(generation: int, at: int, vouched: Iterable[tuple[NodeId, Zone]]) -> Retirement:
    """Return the retirement of the authorities before `generation`; `vouched` in any order, each once or more."""
    pairs = sorted(set(vouched))
    ids = {zone: b"".join(bytes.fromhex(node) for node, of in pairs if of is zone) for zone in Zone}
    return Retirement(generation, at, ids[Zone.CORE], ids[Zone.LAB])


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    body: Annotated[bytes, Meta(max_length=MAX_NOTICE_BYTES)]
    authority: Annotated[bytes, Meta(max_length=4096)]  # certificate, DER
    proof: Annotated[bytes, Meta(min_length=64, max_length=64)]


_BODIES: msgspec.msgpack.Decoder[Revocation | Retirement] = msgspec.msgpack.Decoder(Revocation | Retirement)
_ENVELOPES = msgspec.msgpack.Decoder(_Envelope)


def write_notice(body: Revocation | Retirement, authority: Signed, root: bytes) -> Notice:
    """Return the notice, signed by the core authority."""
    from tarsd.identity import authority as ca

    data = msgspec.msgpack.encode(body)
    der = ca.read_authority_certificate(authority.certificate, root).der
    raw = msgspec.msgpack.encode(_Envelope(data, der, ca.sign(authority.key, _HEAD + data)))
    return read_notice(raw, root)


def read_notice(raw: bytes, root: bytes) -> Notice:
    """Return what a notice says; raises `InvalidInput` for bytes that are none, `NotAllowed` by rules 1 and 2."""
    from tarsd.identity import authority as ca

    if len(raw) > MAX_NOTICE_BYTES:
        raise InvalidInput(f"a notice is at most {MAX_NOTICE_BYTES} bytes")
    try:
        envelope = _ENVELOPES.decode(raw)
        body = _BODIES.decode(envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("not a notice") from error
    signer = ca.read_authority_certificate(envelope.authority, root)
    if signer.zone is not Zone.CORE or not ca.is_signed(signer.public_key, _HEAD + envelope.body, envelope.proof):
        raise NotAllowed("the notice was not signed by the core authority of this cluster")
    if isinstance(body, Retirement) and body.generation > signer.generation:
        raise NotAllowed("an authority cannot retire itself")
    if isinstance(body, Retirement) and (len(body.core) % NODE_BYTES or len(body.lab) % NODE_BYTES):
        raise InvalidInput(f"ids of nodes are {NODE_BYTES} bytes each")
    return Notice(raw, body, signer.generation)
