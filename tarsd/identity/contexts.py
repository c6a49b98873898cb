"""TLS as nodes speak it: 1.3 only, both sides certified, one root trusted, the zone rule held inside the handshake.

Rules
1. Trust is the cluster's root alone: no system authorities, no other cluster.
2. A peer whose certificate breaks a rule of `peer.py` fails the handshake, on either side, before a byte of a
   request is sent or read.
3. The client names the node that it means; another node's certificate fails the handshake (`server_name_of`).
4. A revoked peer fails the handshake too. One that calls is told why, with the notice that says so, and hung up on:
   from the side of whoever listens its connection has ended before a byte of a request was read.
5. A connection that was open when its peer was revoked breaks with the next byte in either direction.
"""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

from tarsd import wire
from tarsd.errors import ConfigError, NotAllowed, to_wire
from tarsd.identity.peer import PeerIdentity, read_certificate
from tarsd.identity.revocations import Notices
from tarsd.names import NodeId

NOTICE_HEADER = "X-Tarsd-Notice"


class PeerSSLObject(ssl.SSLObject):
    """A TLS connection that knows its peer once the handshake is done (documented hook: `sslobject_class`)."""

    peer: PeerIdentity | None = None
    _seen = -1  # version of the notices that the peer was last held against
    _is_over = False

    def do_handshake(self) -> None:
        """Take a step of the handshake; raises `SSLCertVerificationError` where the peer is against the rules."""
        super().do_handshake()
        certificate = self.getpeercert()
        try:
            self.peer = read_certificate(certificate or {})
        except NotAllowed as error:
            raise ssl.SSLCertVerificationError(str(error)) from error
        if not isinstance(self.context, PeerContext):
            return
        refusal = self.context.notices.refusal(self.peer)
        if refusal and self.server_side:
            self._is_over = True
            super().write(_farewell(refusal, self.context.notices.notice_about(self.peer.node_id)))
        elif refusal:
            raise ssl.SSLCertVerificationError(refusal)
        else:
            self.context.met[self.peer.node_id] = self.peer
            self._seen = self.context.notices.version

    def read(self, length: int = 1024, buffer: bytearray | None = None) -> bytes | int:  # type: ignore[override]
        """Read; nothing ever comes from a peer that was refused (rules 4 and 5)."""
        if self._is_over:
            return b"" if buffer is None else 0
        self._still_welcome()
        return super().read(length) if buffer is None else super().read(length, buffer)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write; raises `SSLError` where the peer has been revoked since (rule 5)."""
        self._still_welcome()
        return super().write(data)

    def _still_welcome(self) -> None:
        context, peer = self.context, self.peer
        if peer is None or not isinstance(context, PeerContext) or context.notices.version == self._seen:
            return
        self._seen = context.notices.version
        if refusal := context.notices.refusal(peer):
            self._seen = -1
            raise ssl.SSLError(refusal)


class PeerContext(ssl.SSLContext):
    """A context between nodes.

    `met` is who was last verified under each node id (one entry per certified node), `notices` who is revoked.
    """

    sslobject_class = PeerSSLObject
    met: dict[NodeId, PeerIdentity]
    notices: Notices


def server_context(folder: Path, notices: Notices) -> PeerContext:
    """Return the context for listening to nodes."""
    return _context(folder, notices, ssl.PROTOCOL_TLS_SERVER)


def client_context(folder: Path, notices: Notices, *, any_node: bool = False) -> PeerContext:
    """Return the context for calling a node; `any_node` only for asking who is there at all (rule 3)."""
    context = _context(folder, notices, ssl.PROTOCOL_TLS_CLIENT)
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


def _farewell(refusal: str, notice: bytes) -> bytes:
    """Return the one answer that a refused caller gets, whatever it meant to ask."""
    body = wire.encode_frame(wire.Kind.ERROR, wire.encode(wire.ErrorBody(*to_wire(NotAllowed(refusal))[:2])))
    head = f"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    if notice:
        head += f"{NOTICE_HEADER}: {base64.b64encode(notice).decode()}\r\n"
    return f"{head}\r\n".encode() + body


def _context(folder: Path, notices: Notices, protocol: int) -> PeerContext:
    context = PeerContext(protocol)
    context.met = {}
    context.notices = notices
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(folder / "root.crt")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{folder / 'root.crt'}: cannot be used: {error}") from error
    load_certificate(context, folder)
    return context
