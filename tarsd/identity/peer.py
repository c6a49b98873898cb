"""Who is at the other end: read from a certificate that TLS has verified, and from nothing else.

Rules
1. A node's certificate names it once as a URI, `tars://<cluster>/<zone>/<node id>`, and once as a DNS name,
   `<node id>.tarsd`, so that TLS's own host name check holds a connection to the node that was meant.
2. The zone in the URI must be the zone of the authority that signed: the lab's authority cannot make core nodes.
3. The URI's cluster must be the authority's cluster.
4. Authorities that were replaced have a number: "tarsd core authority" is the first, "tarsd core authority 2" the next.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

import msgspec

from tarsd.errors import NotAllowed
from tarsd.names import NodeId, NodeName, Zone

_URI = re.compile(r"tars://([0-9a-f]{16})/(core|lab)/([0-9a-f]{32})")
_AUTHORITY = re.compile(r"tarsd (core|lab) authority(?: ([1-9][0-9]{0,8}))?")


class PeerIdentity(msgspec.Struct, frozen=True):
    """What a verified certificate says of its node; `issuer` is the generation of the authority that signed it."""

    node_id: NodeId
    name: NodeName
    zone: Zone
    issuer: int = 1


def uri_of(cluster: str, zone: Zone, node_id: NodeId) -> str:
    """Return the URI that a node's certificate carries."""
    return f"tars://{cluster}/{zone}/{node_id}"


def server_name_of(node_id: NodeId) -> str:
    """Return the DNS name that a node's certificate carries; to be given to TLS as the expected host name."""
    return f"{node_id}.tarsd"


def authority_name(zone: Zone, generation: int = 1) -> str:
    """Return the common name of a zone's authority (rule 4)."""
    return f"tarsd {zone} authority" + (f" {generation}" if generation > 1 else "")


def authority_named(name: str) -> tuple[Zone, int]:
    """Return zone and generation of the authority of this common name; raises `NotAllowed` for no name of one."""
    found = _AUTHORITY.fullmatch(name)
    if found is None:
        raise NotAllowed(f"{name!r} is no authority of a zone")
    return Zone(found[1]), int(found[2] or 1)


def peer_of(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> PeerIdentity:
    """Return the peer of an established TLS connection; raises `NotAllowed` for none, or one against the rules."""
    known = getattr(ssl_object, "peer", None)
    if isinstance(known, PeerIdentity):
        return known
    certificate = ssl_object.getpeercert() if ssl_object is not None else None
    if not certificate:
        raise NotAllowed("no certificate")
    return read_certificate(certificate)


def read_certificate(certificate: Mapping[str, Any]) -> PeerIdentity:
    """Return who a verified certificate (in the shape of `getpeercert()`) is for; raises `NotAllowed`."""
    uris = [_URI.fullmatch(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1 or uris[0] is None:
        raise NotAllowed("the certificate is not one of a node")
    cluster, zone, node_id = uris[0].groups()
    issuer = _names(certificate.get("issuer", ()))
    signed_for, generation = authority_named(issuer.get("commonName", ""))
    if signed_for is not Zone(zone):
        raise NotAllowed(f"the certificate claims zone {zone}, but {issuer.get('commonName')!r} signed it")
    if issuer.get("organizationName") != cluster:
        raise NotAllowed(f"the certificate claims cluster {cluster}, but another cluster's authority signed it")
    name = _names(certificate.get("subject", ())).get("commonName", "")
    return PeerIdentity(NodeId(node_id), NodeName(name), Zone(zone), generation)


def _names(distinguished: tuple[tuple[tuple[str, str], ...], ...]) -> dict[str, str]:
    return {key: value for part in distinguished for key, value in part}
