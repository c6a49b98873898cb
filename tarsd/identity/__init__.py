"""Who a node is: keys, certificates, zones, and how a new PC is let in."""

from tarsd.identity.identity import Identity, init_cluster, load_identity
from tarsd.identity.invites import Invite, create_invite, pending
from tarsd.identity.join import join
from tarsd.identity.join_server import JoinServer
from tarsd.identity.peer import PeerIdentity, peer_of
from tarsd.identity.renewal import reissue, renew, request_renewal, take_renewal

__all__ = [
    "Identity",
    "Invite",
    "JoinServer",
    "PeerIdentity",
    "create_invite",
    "init_cluster",
    "join",
    "load_identity",
    "peer_of",
    "pending",
    "reissue",
    "renew",
    "request_renewal",
    "take_renewal",
]
