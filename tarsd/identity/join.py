"""Joining a cluster: what the new PC does with a token.

Rules
1. First only the root certificate is asked for, and nothing is sent. One that does not fit the token's fingerprint
   ends the talk: the secret is never shown to whoever happens to answer at that address.
2. The secret goes over a second connection, which trusts that root alone, and only to a core node of the cluster.
3. The private key is made here and stays here.
4. Nothing is written before everything has been received and fits together.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from tarsd import wire
from tarsd.errors import ConfigError, InviteError, NotAllowed, PeerLost, TarsdError, Unavailable, WireError, from_wire
from tarsd.identity.enrol import MAX_REPLY_BYTES, JoinReply, JoinRequest, RootReply
from tarsd.identity.folder import NodeFile, create_folder, folder_of, refuse_second
from tarsd.identity.identity import Identity, check_name, load_identity
from tarsd.identity.issuers import check_issuers, names_of, using_file
from tarsd.identity.notices import read_notice
from tarsd.identity.peer import peer_of
from tarsd.identity.revocations import FILES, file_of
from tarsd.identity.token import PIN_BYTES, Token, decode_token
from tarsd.names import NodeName, Zone

CONNECT_S = 5.0
INVITER_FILE = "inviter.json"  # a seed for gossip, by which a node without multicast finds the others at first
# Certificates begin an hour early (`authority.EARLY`); a clock further behind would find its own not valid yet.
MAX_SKEW_S = 55 * 60.0

ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)


class _Place(msgspec.Struct, frozen=True):
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


def join(token: str, data_dir: Path, name: str, hints: Sequence[str] = ()) -> Identity:
    """Make this PC a node of the cluster that `token` invites to; `hints` are tried before the token's own.

    Blocks for some seconds. Raises `InviteError` (wrong, used, expired), `PeerLost` where nobody answers, `ConfigError`
    where this PC's name, clock or data folder is in the way. After any of these the data folder is as before.
    """
    check_name(name)
    refuse_second(data_dir)
    invitation = decode_token(token)
    addresses = list(dict.fromkeys((*hints, *invitation.hints)))
    unreachable = []
    strangers = []
    for address in addresses:
        try:
            root = _fetch_root(address, invitation)
            return _enrol(address, invitation, root, data_dir, name)
        except (OSError, http.client.HTTPException) as error:
            unreachable.append(f"{address}: {_plain(error)}")
        except Unavailable as error:
            unreachable.append(f"{address}: {error}")
        except _WrongNodeError as error:
            strangers.append(error)
    if not addresses:
        raise InviteError("the join token names no address: give one with --at HOST:PORT")
    if strangers:
        raise InviteError("; ".join(map(str, strangers)))
    if time.time() >= invitation.expires:
        raise InviteError("this join token has expired: make a new one with `tarsd invite`")
    raise PeerLost(
        f"nobody lets nodes in at {'; '.join(unreachable)}. The join port is open only while an invitation is: "
        "this one may have been used or expired, or tarsd does not run there, or a firewall is between"
    )


class _WrongNodeError(Exception):
    """Who answers at an address is not whom the token means; nothing was shown to it."""


def _fetch_root(address: str, invitation: Token) -> bytes:
    """Return the root certificate that the token pins (rule 1)."""
    from tarsd.identity.authority import fingerprint

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what comes is compared with the token, and nothing is sent
    with _connect(address, context) as connection:
        reply = _exchange(connection, "GET", "/root", b"", RootReply)
    if fingerprint(reply.root)[:PIN_BYTES] != invitation.pin:
        raise _WrongNodeError(f"{address} belongs to another cluster than the join token: nothing was sent to it")
    skew_s = time.time() - reply.now
    if abs(skew_s) > MAX_SKEW_S:
        raise ConfigError(
            f"the clocks of this PC and {address} differ by {abs(skew_s) / 60:.0f} minutes "
            f"(this one is {'ahead' if skew_s > 0 else 'behind'}): set them right first"
        )
    return reply.root


def _enrol(address: str, invitation: Token, root: bytes, data_dir: Path, name: str) -> Identity:
    """Exchange the secret for a certificate, and keep it (rules 2 to 4)."""
    from tarsd.identity import authority as ca

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # any core node of this cluster may answer
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=root.decode("ascii", "replace"))
    key = ca.new_key()
    request = JoinRequest(secret=invitation.secret, name=name, request=ca.make_request(key))
    with _connect(address, context) as connection:
        if not _is_core(connection):
            raise _WrongNodeError(f"{address} is not a core node: the join token was not shown to it")
        reply = _exchange(connection, "POST", "/join", wire.encode(request), JoinReply)
    host = address.rpartition(":")[0].strip("[]")
    return keep(data_dir, root, key, invitation.zone, name, reply, inviter_host=host)


def keep(
    data_dir: Path, root: bytes, key: bytes, zone: Zone, name: str, reply: JoinReply, *, inviter_host: str = ""
) -> Identity:
    """Write a new node's folder; raises `WireError` for a reply that does not fit what was asked (rule 4)."""
    from tarsd.identity import authority as ca

    cluster = ca.cluster_of(root)
    if (reply.node_id, reply.zone, reply.cluster) != (ca.node_id_of(ca.public_of(key)), zone, cluster):
        raise WireError("the certificate that came is for somebody else")
    node = NodeFile(
        node_id=reply.node_id,
        name=NodeName(name),
        zone=reply.zone,
        cluster=cluster,
        cluster_name=reply.cluster_name,
        not_after=reply.not_after,
        issuer=ca.issuer_of(reply.chain),
    )
    files = {"root.crt": root, "node.key": key, "node.crt": reply.chain, "node.json": msgspec.json.encode(node)}
    if reply.authorities:
        generation = check_issuers(reply.authorities, root)
        files |= names_of(reply.authorities, generation) | using_file(generation)
    if notices := [read_notice(raw, root) for raw in reply.notices]:
        files |= dict.fromkeys(FILES, file_of(notices))
    if reply.inviter is not None and inviter_host:
        files[INVITER_FILE] = msgspec.json.encode({"host": inviter_host, "port": reply.inviter.port})
    create_folder(data_dir, files)
    return load_identity(data_dir)


def inviter_of(data_dir: Path) -> str | None:
    """Return "host:port" where the node that let this one in listens to peers, as it was then; None = not known."""
    try:
        found = msgspec.json.decode((folder_of(data_dir) / INVITER_FILE).read_bytes(), type=_Place)
    except (OSError, msgspec.DecodeError):
        return None
    return f"[{found.host}]:{found.port}" if ":" in found.host else f"{found.host}:{found.port}"


def _is_core(connection: _Connection) -> bool:
    try:
        return isinstance(connection.sock, ssl.SSLSocket) and peer_of(connection.sock).zone is Zone.CORE
    except NotAllowed:
        return False


class _Connection(http.client.HTTPSConnection):
    """An HTTPS connection that closes as a context manager."""

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(address: str, context: ssl.SSLContext) -> _Connection:
    """Return an open connection to "host:port"; raises `InviteError` for no such thing, else `OSError`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InviteError(f'{address!r} is not "host:port"')
    connection = _Connection(host.strip("[]"), int(port), timeout=CONNECT_S, context=context)
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        raise _WrongNodeError(f"{address} is not a node of the join token's cluster: {error.verify_message}") from error
    return connection


def _exchange(connection: _Connection, method: str, path: str, body: bytes, as_type: type[ReplyT]) -> ReplyT:
    connection.request(method, path, body=body)
    response = connection.getresponse()
    answer = response.read(MAX_REPLY_BYTES + 1)
    if len(answer) > MAX_REPLY_BYTES:
        raise WireError("the answer is larger than any of a tarsd")
    if response.status == 200:
        return wire.decode(answer, as_type)
    raise _refused(answer)


def _refused(answer: bytes) -> TarsdError:
    error = wire.decode(answer, wire.ErrorBody)
    return from_wire(error.name, error.sentence, error.retry_after_s)


def _plain(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
