"""Renewing certificates before they end. A core node does it by itself; a lab node asks a core node.

    lab node                         core node
    request_renewal(identity)  -->   reissue(data_dir, caller, request)
    take_renewal(identity, chain) <--

Rules
1. A renewed certificate says what the old one said: node id, name and zone come from the verified caller.
2. Only the key that the caller proved in its handshake is certified again; a revoked node's never.
3. A certificate is due when it nears its end, and when its authority is about to be retired.
4. Where renewing fails it is tried again, later and later, at most a minute apart.
5. People are told 14, 7 and 1 days before the end; of 14 only where the node cannot renew itself.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import msgspec

from tarsd.errors import InviteError, NotAllowed, WireError
from tarsd.identity.folder import folder_of, write_private
from tarsd.identity.identity import Identity, load_node_file, read_authority, read_file
from tarsd.identity.issuers import using
from tarsd.identity.peer import PeerIdentity
from tarsd.identity.revocations import Notices
from tarsd.names import Zone

# With this much left a certificate is renewed: a node may be off for ten days and find its own still good.
DAY_S = 24 * 3600.0
RENEW_BELOW_S = 10 * DAY_S
LOOK_EVERY_S = 3600.0
RETRY_FIRST_S = 1.0
RETRY_LAST_S = 60.0
ALARM_DAYS = (14, 7, 1)


def is_due(identity: Identity, *, now: float | None = None, below_s: float = RENEW_BELOW_S) -> bool:
    """Whether less than `below_s` is left of this node's certificate, or another authority signs now (rule 3)."""
    if identity.issuer < identity.notices.minimum or (identity.can_invite and identity.issuer < using(identity.folder)):
        return True
    return identity.not_after - (time.time() if now is None else now) < below_s


def next_look_s(failures: int, rng: Random) -> float:
    """Return when to look again after so many failures in a row (rule 4); `rng` keeps nodes from coming all at once."""
    if not failures:
        return LOOK_EVERY_S
    return min(RETRY_FIRST_S * 2.0 ** min(failures - 1, 16), RETRY_LAST_S) * rng.uniform(0.5, 1.0)


def alarm(not_after: float, now: float, *, renews_itself: bool) -> str:
    """Return what people should know about a certificate that ends at `not_after`; empty = nothing (rule 5)."""
    left_s = not_after - now
    if left_s <= 0:
        return (
            "this node's certificate has ended: the others refuse it, people here are still served; "
            + ("it renews itself" if renews_itself else "let it join again: `tarsd invite --zone lab` on a core PC")
            + ". Is the clock of this PC right?"
        )
    days = [limit for limit in ALARM_DAYS if left_s < limit * DAY_S and not (renews_itself and limit == ALARM_DAYS[0])]
    if not days:
        return ""
    return f"this node's certificate ends in less than {min(days)} day{'s' if min(days) > 1 else ''} and is not renewed"


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

    node = load_node_file(data_dir)
    if node.zone is not Zone.CORE:
        raise InviteError("only core nodes can renew certificates")
    folder = folder_of(data_dir)
    notices = Notices(folder, read_file(folder / "root.crt"), node.node_id)
    if refusal := notices.own.sentence if notices.own else notices.refusal(caller):
        raise NotAllowed(f"no certificate is renewed: {refusal}")
    public_key = ca.requested_key(request)
    if ca.node_id_of(public_key) != caller.node_id:
        raise NotAllowed("a node can have its own certificate renewed, not another's")
    signer = read_authority(folder, caller.zone)
    now = time.time() if now is None else now
    return ca.issue(signer, public_key, name=caller.name, zone=caller.zone, now=now).chain


def take_renewal(identity: Identity, chain: bytes) -> None:
    """Keep and use a renewed certificate; raises `WireError` for one that is not of this node's key."""
    from tarsd.identity import authority as ca

    node_id, not_after = ca.subject_of(chain)
    if node_id != identity.node_id:
        raise WireError("the certificate that came is for somebody else")
    old = load_node_file(identity.data_dir)
    node = msgspec.structs.replace(old, not_after=not_after, issuer=ca.issuer_of(chain))
    write_private(identity.folder / "node.crt", chain)
    write_private(identity.folder / "node.json", msgspec.json.encode(node))
    identity.reload()
