"""The messages of joining, and what the inviting node does with them. No sockets here.

    GET  /root   -> `RootReply`: who wants to join compares its hash with the token, and has sent nothing yet
    POST /join   `JoinRequest` -> `JoinReply`, over a second connection that trusts this root alone

Errors go back as `wire.ErrorBody`.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tarsd.errors import InvalidInput, InviteError
from tarsd.identity import invites, issuers
from tarsd.identity.folder import Signed
from tarsd.identity.identity import check_name, load_node_file, read_authority, read_file
from tarsd.identity.revocations import Notices
from tarsd.identity.token import SECRET_BYTES
from tarsd.names import NodeId, NodeName, Zone

MAX_MESSAGE_BYTES = 64 * 1024
MAX_REPLY_BYTES = 4 * 1024 * 1024  # it brings all notices


class RootReply(msgspec.Struct, frozen=True):
    """The cluster's root certificate (PEM), and the inviting node's clock, for a hint only."""

    root: bytes
    now: float


class JoinRequest(msgspec.Struct, frozen=True):
    """The token's secret, the name that the node wants, and its signing request (PEM)."""

    secret: bytes
    name: str
    request: bytes


class Inviter(msgspec.Struct, frozen=True):
    """The inviting node, and the port where it listens to peers: at the address where the joiner reached it."""

    node_id: NodeId
    name: NodeName
    zone: Zone
    port: int


class JoinReply(msgspec.Struct, frozen=True):
    """The new node's certificate with its authority's; `authorities` (core nodes only) let it invite in turn."""

    node_id: NodeId
    zone: Zone
    cluster: str
    cluster_name: str
    chain: bytes
    not_after: float
    authorities: dict[Zone, Signed] = {}
    notices: list[bytes] = []  # who is revoked
    inviter: Inviter | None = None  # where gossip finds the inviting node, so that the new one need not look for it


def admit(data_dir: Path, request: JoinRequest, *, now: float | None = None, peer_port: int = 0) -> JoinReply:
    """Use the invitation up and return what the new node needs; `peer_port` is where this node listens to peers.

    Raises `InvalidInput` (the invitation stays open: name and signing request are checked before it is used),
    `InviteError`, or `ConfigError` where this node's own folder is broken.
    """
    from tarsd.identity import authority as ca

    now = time.time() if now is None else now
    if len(request.secret) != SECRET_BYTES:
        raise InvalidInput(f"secret: expected {SECRET_BYTES} bytes")
    check_name(request.name)
    public_key = ca.requested_key(request.request)
    node = load_node_file(data_dir)
    folder = data_dir / "identity"
    notices = Notices(folder, read_file(folder / "root.crt"), node.node_id)
    if notices.own is not None:
        raise InviteError("this node was revoked: it lets nobody in")
    if issuers.using(folder) < notices.minimum:
        raise InviteError("the authorities were replaced while this node was off: try again in a minute")
    if ca.node_id_of(public_key) in notices:
        raise InviteError("that key belongs to a node that was revoked")
    authorities = {zone: read_authority(folder, zone) for zone in Zone}
    zone = invites.use(data_dir, request.secret, now=now).zone
    issued = ca.issue(authorities[zone], public_key, name=NodeName(request.name), zone=zone, now=now)
    return JoinReply(
        node_id=issued.node_id,
        zone=zone,
        cluster=node.cluster,
        cluster_name=node.cluster_name,
        chain=issued.chain,
        not_after=issued.not_after,
        authorities=authorities if zone is Zone.CORE else {},
        notices=notices.all(),
        inviter=Inviter(node.node_id, node.name, node.zone, peer_port) if peer_port else None,
    )


def root_reply(data_dir: Path) -> RootReply:
    """Return what anybody may have: the root certificate is no secret."""
    return RootReply(root=read_file(data_dir / "identity" / "root.crt"), now=time.time())
