"""What the core authority says to all nodes, for good: this node is revoked; authorities below this one are retired.

Rules
1. A notice counts when a core authority of this cluster signed it, whose certificate (it comes along) the root signed.
2. An authority can retire those before it, never itself or later ones.
3. Notices only add up: nothing takes one back. A revoked node that joins again is another node, with another key.

Pure: bytes in, bytes out. `cryptography.x509` is imported only when there is a notice to read or write.
"""

from __future__ import annotations

import hashlib
import time
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from tarsd.errors import InvalidInput, NotAllowed
from tarsd.identity.folder import Signed
from tarsd.names import NodeId, Zone

MAX_REASON = 200
MAX_NOTICE_BYTES = 16 * 1024  # a retirement names every node of the cluster
_HEAD = b"tarsd notice 1"

NodeBytes = Annotated[bytes, Meta(min_length=16, max_length=16)]


class Revocation(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """`node` is no member of this cluster any more: at `at` (seconds since 1970), by the node named `by`."""

    node: NodeBytes
    name: Annotated[str, Meta(max_length=64)]
    at: int
    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""
    by: Annotated[str, Meta(max_length=64)] = ""

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
    """Certificates of authorities before `generation` are refused, but those of the `vouched` nodes in their zones.

    Who held an old authority's key can make certificates with it, but not for the keys of nodes that are known.
    """

    generation: Annotated[int, Meta(ge=2)]
    at: int
    vouched: list[tuple[NodeBytes, Zone]] = []


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
    return Notice(raw, body, signer.generation)
