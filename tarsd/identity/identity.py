"""This node's own identity: loaded at start, made by `init_cluster` or `join`, renewed before it ends."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tarsd.config.schema import NameText
from tarsd.errors import ConfigError
from tarsd.identity.contexts import PeerContext, client_context, load_certificate, server_context
from tarsd.identity.folder import NodeFile, Signed, create_folder, folder_of, refuse_second
from tarsd.identity.issuers import read_issuer
from tarsd.identity.peer import PeerIdentity
from tarsd.identity.revocations import Notices
from tarsd.names import NodeId, NodeName, Zone


class Identity:
    """Who this node is, and the TLS contexts that prove it.

    The contexts are made once and shared; `renew` changes the certificate inside them, so listening sockets and
    pools need not be opened anew. `notices` is who is revoked: the contexts look there at every handshake, and
    whenever it has grown.
    """

    def __init__(self, folder: Path, node: NodeFile) -> None:
        self.folder = folder
        self._node = node
        self.notices = Notices(folder, read_file(folder / "root.crt"), node.node_id)
        self._server = server_context(folder, self.notices)
        self._client = client_context(folder, self.notices)
        self._stranger = client_context(folder, self.notices, any_node=True)

    @property
    def data_dir(self) -> Path:
        """The node's data folder."""
        return self.folder.parent

    @property
    def node_id(self) -> NodeId:
        """The node's id: the hash of its public key."""
        return self._node.node_id

    @property
    def name(self) -> NodeName:
        """The node's human name."""
        return self._node.name

    @property
    def zone(self) -> Zone:
        """The zone that its certificate says."""
        return self._node.zone

    @property
    def cluster(self) -> str:
        """The short id of its cluster."""
        return self._node.cluster

    @property
    def cluster_name(self) -> str:
        """The name that people gave the cluster."""
        return self._node.cluster_name

    @property
    def not_after(self) -> float:
        """When its certificate ends, in seconds since 1970."""
        return self._node.not_after

    @property
    def can_invite(self) -> bool:
        """Whether the authorities' keys are here, and count: on core nodes that are not revoked."""
        return self.zone is Zone.CORE and self.notices.own is None

    @property
    def issuer(self) -> int:
        """The generation of the authority that signed its certificate."""
        return self._node.issuer

    def as_peer(self) -> PeerIdentity:
        """Return this node as others see it."""
        return PeerIdentity(self.node_id, self.name, self.zone, self.issuer)

    def server_context(self) -> PeerContext:
        """Return the context for listening to nodes: TLS 1.3, certificate required, this cluster's root only."""
        return self._server

    def client_context(self, *, any_node: bool = False) -> PeerContext:
        """Return the context for calling a node; `any_node` does not hold the peer to one node id."""
        return self._stranger if any_node else self._client

    def reload(self) -> None:
        """Take up what stands in the folder now; open connections keep the certificate they began with."""
        self._node = load_node_file(self.data_dir)
        for context in (self._server, self._client, self._stranger):
            load_certificate(context, self.folder)


def load_identity(data_dir: Path) -> Identity:
    """Return the identity kept in `data_dir`; raises `ConfigError` saying what to run or mend."""
    return Identity(folder_of(data_dir), load_node_file(data_dir))


def init_cluster(data_dir: Path, name: str, cluster_name: str = "home", *, now: float | None = None) -> Identity:
    """Make a new cluster whose first (core) node this is; raises `ConfigError` where one is already."""
    from tarsd.identity import authority as ca  # x509 is slow to import and a running node never needs it

    check_name(name)
    refuse_second(data_dir)
    now = time.time() if now is None else now
    root = ca.make_root(cluster_name, now)
    authorities = {zone: ca.make_authority(root, zone, now) for zone in Zone}
    key = ca.new_key()
    certificate = ca.issue(authorities[Zone.CORE], ca.public_of(key), name=NodeName(name), zone=Zone.CORE, now=now)
    node = NodeFile(
        node_id=certificate.node_id,
        name=NodeName(name),
        zone=Zone.CORE,
        cluster=ca.cluster_of(root.certificate),
        cluster_name=cluster_name,
        not_after=certificate.not_after,
    )
    files = {"root.crt": root.certificate, "root.key": root.key, "node.key": key, "node.crt": certificate.chain}
    for zone, signed in authorities.items():
        files[f"{zone}.crt"], files[f"{zone}.key"] = signed
    create_folder(data_dir, files | {"node.json": msgspec.json.encode(node)})
    return load_identity(data_dir)


def read_authority(folder: Path, zone: Zone) -> Signed:
    """Return the authority that signs for a zone now, which core nodes keep; raises `ConfigError`."""
    return read_issuer(folder, zone)


def check_name(name: str) -> None:
    """Raise `ConfigError` for a node name that no config would take."""
    try:
        msgspec.convert(name, NameText)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the name {name!r} is not 1 to 32 of a-z, 0-9 and inner hyphens") from error


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of the folder; raises `ConfigError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def load_node_file(data_dir: Path) -> NodeFile:
    """Return who the node of `data_dir` is, without its keys; raises `ConfigError` as `load_identity` does."""
    folder = folder_of(data_dir)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: this node belongs to no cluster yet: run `tarsd init` or `tarsd join TOKEN`")
    path = folder / "node.json"
    try:
        return msgspec.json.decode(read_file(path), type=NodeFile)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: broken: {error}") from error
