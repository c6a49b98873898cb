"""TLS as nodes speak it: 1.3 only, both sides certified, one root trusted, the zone rule held inside the handshake.

Rules
1. Trust is the cluster's root alone: no system authorities, no other cluster.
2. A peer whose certificate breaks a rule of `peer.py` fails the handshake, on either side, before a byte of a
   request is sent or read.
3. The client names the node that it means; another node's certificate fails the handshake (`server_name_of`).
"""

from __future__ import annotations

import ssl
from pathlib import Path

from tarsd.errors import ConfigError, NotAllowed
from tarsd.identity.peer import PeerIdentity, read_certificate
from tarsd.names import NodeId


class PeerSSLObject(ssl.SSLObject):
    """A TLS connection that knows its peer once the handshake is done (documented hook: `sslobject_class`)."""

    peer: PeerIdentity | None = None

    def do_handshake(self) -> None:
        """Take a step of the handshake; raises `SSLCertVerificationError` where the peer is against the rules."""
        super().do_handshake()
        certificate = self.getpeercert()
        try:
            self.peer = read_certificate(certificate or {})
        except NotAllowed as error:
            raise ssl.SSLCertVerificationError(str(error)) from error
        if isinstance(self.context, PeerContext):
            self.context.met[self.peer.node_id] = self.peer


class PeerContext(ssl.SSLContext):
    """A context between nodes; `met` is who was last verified under each node id (one entry per certified node)."""

    sslobject_class = PeerSSLObject
    met: dict[NodeId, PeerIdentity]


def server_context(folder: Path) -> PeerContext:
    """Return the context for listening to nodes."""
    return _context(folder, ssl.PROTOCOL_TLS_SERVER)


def client_context(folder: Path, *, any_node: bool = False) -> PeerContext:
    """Return the context for calling a node; `any_node` only for asking who is there at all (rule 3)."""
    context = _context(folder, ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = not any_node
    return context


def join_context(folder: Path) -> ssl.SSLContext:
    """Return the context of the join port, whose callers have no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    load_certificate(context, folder)
    return context


def load_certificate(context: ssl.SSLContext, folder: Path) -> None:
    """Let `context` use the node's present certificate from its next handshake on; raises `ConfigError`."""
    try:
        context.load_cert_chain(folder / "node.crt", folder / "node.key")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{folder}: node.crt or node.key cannot be used: {error}") from error


def _context(folder: Path, protocol: int) -> PeerContext:
    context = PeerContext(protocol)
    context.met = {}
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(folder / "root.crt")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{folder / 'root.crt'}: cannot be used: {error}") from error
    load_certificate(context, folder)
    return context
