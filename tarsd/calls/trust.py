"""Trust: notices, certificates and authorities."""

from __future__ import annotations

import msgspec

from tarsd.calls.spec import CallSpec
from tarsd.names import Capability, NodeId, Zone


class TrustRequest(msgspec.Struct, frozen=True):
    """Take notices of the core authority (who is revoked); while authorities are replaced, the next step of that.

    `authorities`: zone to certificate and key (PEM), for core nodes only. `use`: sign with this generation from now on,
    and have your own certificate renewed by it. `who`: tell whose certificates you have seen.
    """

    notices: list[bytes] = []
    authorities: dict[Zone, tuple[bytes, bytes]] = {}
    use: int = 0
    who: bool = False


class TrustItem(msgspec.Struct, frozen=True):
    """What the callee knows now: the digest of its notices, who signed its certificate, which authorities it holds.

    `certified`, where `who` was asked: the zone of each node whose certificate it ever saw, in this boot or before.
    """

    digest: bytes
    issuer: int
    installed: int = 0
    has_root: bool = False
    certified: dict[NodeId, Zone] = {}


class RenewRequest(msgspec.Struct, frozen=True):
    """Ask for a new certificate: a signing request (PEM) by the key that the caller proved in its handshake."""

    request: bytes


class RenewItem(msgspec.Struct, frozen=True):
    """The new certificate, followed by its authority's (PEM)."""

    chain: bytes


class AuthoritiesRequest(msgspec.Struct, frozen=True):
    """Ask for the authorities in use: by a core node that was off while they were replaced."""


class AuthoritiesItem(msgspec.Struct, frozen=True):
    """Zone to certificate and key (PEM)."""

    authorities: dict[Zone, tuple[bytes, bytes]]


TRUST = CallSpec(Capability("trust"), TrustRequest, TrustItem, deadline_s=10)
# The only thing that a lab node may call: it cannot renew its certificate by itself.
RENEW = CallSpec(Capability("renew"), RenewRequest, RenewItem, deadline_s=10, zones=frozenset(Zone))
AUTHORITIES = CallSpec(Capability("authorities"), AuthoritiesRequest, AuthoritiesItem, deadline_s=10)
