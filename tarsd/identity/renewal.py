"""Renewing certificates before they end. A core node does it by itself; a lab node asks a core node.

    lab node                         core node
    request_renewal(identity)  -->   reissue(data_dir, caller, request)
    take_renewal(identity, chain) <--

Rules
1. A renewed certificate says what the old one said: node id, name and zone come from the verified caller.
2. Only the key that the caller proved in its handshake is certified again.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tarsd.errors import InviteError, NotAllowed, WireError
from tarsd.identity.folder import folder_of, write_private
from tarsd.identity.identity import Identity, load_node_file, read_authority, read_file
from tarsd.identity.peer import PeerIdentity
from tarsd.names import Zone

# With this much left a certificate is renewed: a node may be off for ten days and find its own still good.
RENEW_BELOW_S = 10 * 24 * 3600.0


def is_due(identity: Identity, *, now: float | None = None, below_s: float = RENEW_BELOW_S) -> bool:
    """Whether less than `below_s` is left of this node's certificate."""
    return identity.not_after - (time.time() if now is None else now) < below_s


def renew(identity: Identity, *, now: float | None = None, below_s: float = RENEW_BELOW_S) -> bool:
    """Renew this node's own certificate where that is due and the authority's key is here; return whether it was done.

    Works on core nodes, even when the certificate has already ended. Takes effect with the next handshake.
    """
    if not is_due(identity, now=now, below_s=below_s) or not identity.can_invite:
        return False
    chain = reissue(identity.data_dir, identity.as_peer(), request_renewal(identity), now=now)
    take_renewal(identity, chain)
    return True


def request_renewal(identity: Identity) -> bytes:
    """Return what a node without authority keys sends to a core node: a signing request by its own key."""
    from tarsd.identity import authority as ca

    return ca.make_request(read_file(identity.folder / "node.key"))


def reissue(data_dir: Path, caller: PeerIdentity, request: bytes, *, now: float | None = None) -> bytes:
    """Return a new certificate (with its authority's) for a verified caller.

    Raises `NotAllowed` for another key than the caller's, `InvalidInput` for no request, `InviteError` on a lab node.
    """
    from tarsd.identity import authority as ca

    if load_node_file(data_dir).zone is not Zone.CORE:
        raise InviteError("only core nodes can renew certificates")
    public_key = ca.requested_key(request)
    if ca.node_id_of(public_key) != caller.node_id:
        raise NotAllowed("a node can have its own certificate renewed, not another's")
    signer = read_authority(folder_of(data_dir), caller.zone)
    now = time.time() if now is None else now
    return ca.issue(signer, public_key, name=caller.name, zone=caller.zone, now=now).chain


def take_renewal(identity: Identity, chain: bytes) -> None:
    """Keep and use a renewed certificate; raises `WireError` for one that is not of this node's key."""
    from tarsd.identity import authority as ca

    node_id, not_after = ca.subject_of(chain)
    if node_id != identity.node_id:
        raise WireError("the certificate that came is for somebody else")
    node = msgspec.structs.replace(load_node_file(identity.data_dir), not_after=not_after)
    write_private(identity.folder / "node.crt", chain)
    write_private(identity.folder / "node.json", msgspec.json.encode(node))
    identity.reload()
