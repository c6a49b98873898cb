"""What a verified certificate may and may not say, tried in real handshakes over memory."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import msgspec
import pytest

from tarsd.errors import NotAllowed
from tarsd.identity import Identity, PeerIdentity, init_cluster, load_identity, peer_of
from tarsd.identity import authority as ca
from tarsd.identity.folder import NodeFile, Signed, create_folder
from tarsd.identity.identity import read_authority
from tarsd.identity.peer import read_certificate, server_name_of
from tarsd.names import NodeName, Zone


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return both ends of a finished handshake; raises what either end raised."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    open_ends = [one, other]
    for _ in range(10):
        for end in list(open_ends):
            try:
                end.do_handshake()
                open_ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not open_ends
    return one, other


def forge(tmp_path: Path, cluster: Identity, signer: Signed, zone: Zone, *, name: str = "forged") -> Identity:
    """Return a node with a certificate for `zone` that `signer` signed, right or wrong."""
    key = ca.new_key()
    issued = ca.issue(signer, ca.public_of(key), name=NodeName(name), zone=zone, now=time.time())
    node = NodeFile(issued.node_id, NodeName(name), zone, cluster.cluster, "home", issued.not_after)
    root = (cluster.folder / "root.crt").read_bytes()
    files = {"root.crt": root, "node.key": key, "node.crt": issued.chain, "node.json": msgspec.json.encode(node)}
    create_folder(tmp_path / name, files)
    return load_identity(tmp_path / name)


def test_both_ends_know_each_other_after_the_handshake(pc1: Identity, add_node) -> None:
    lab = add_node("lab1", Zone.LAB)
    mine, theirs = shake_hands(pc1.server_context(), lab.client_context(), server_name_of(pc1.node_id))
    assert peer_of(mine) == PeerIdentity(pc1.node_id, pc1.name, Zone.CORE)
    assert peer_of(theirs) == PeerIdentity(lab.node_id, lab.name, Zone.LAB)
    assert mine.version() == "TLSv1.3"


def test_another_node_than_the_one_meant_fails(pc1: Identity, add_node) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(pc2.server_context(), pc1.client_context(), server_name_of(pc3.node_id))


def test_another_cluster_fails_on_both_sides(pc1: Identity, tmp_path: Path) -> None:
    other = init_cluster(tmp_path / "other", "pc1")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(other.server_context(), pc1.client_context(any_node=True), None)
    other.client_context(any_node=True).load_verify_locations(pc1.folder / "root.crt")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(pc1.server_context(), other.client_context(any_node=True), None)


def test_a_client_without_certificate_fails(pc1: Identity) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(pc1.server_context(), bare, None)


def test_tls_1_2_fails(pc1: Identity, add_node) -> None:
    old = add_node("pc2").client_context(any_node=True)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake_hands(pc1.server_context(), old, None)


def test_the_lab_authority_cannot_make_core_nodes(pc1: Identity, tmp_path: Path) -> None:
    forged = forge(tmp_path, pc1, read_authority(pc1.folder, Zone.LAB), Zone.CORE)
    with pytest.raises(ssl.SSLCertVerificationError, match="claims zone core"):
        shake_hands(pc1.server_context(), forged.client_context(any_node=True), None)
    with pytest.raises(ssl.SSLCertVerificationError, match="claims zone core"):
        shake_hands(forged.server_context(), pc1.client_context(any_node=True), None)


def test_a_node_cannot_sign_another_node(pc1: Identity, tmp_path: Path) -> None:
    as_authority = Signed((pc1.folder / "core.crt").read_bytes(), (pc1.folder / "node.key").read_bytes())
    forged = forge(tmp_path, pc1, as_authority, Zone.CORE)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(pc1.server_context(), forged.client_context(any_node=True), None)


def test_a_zone_authority_cannot_make_another_authority(pc1: Identity, tmp_path: Path) -> None:
    lab = read_authority(pc1.folder, Zone.LAB)
    sub = ca.make_authority(lab, Zone.CORE, time.time())
    chain = Signed(sub.certificate + lab.certificate, sub.key)
    forged = forge(tmp_path, pc1, chain, Zone.CORE)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"path length|invalid CA"):
        shake_hands(pc1.server_context(), forged.client_context(any_node=True), None)


def test_an_ended_certificate_fails(pc1: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then = time.time() - 31 * 24 * 3600
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: then)
        ended = forge(tmp_path, pc1, read_authority(pc1.folder, Zone.CORE), Zone.CORE)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(pc1.server_context(), ended.client_context(any_node=True), None)


@pytest.mark.parametrize(
    "names",
    [
        (),
        (("DNS", "x.tarsd"),),
        (("URI", "tars://0123456789abcdef/core/" + "0" * 31),),
        (("URI", "tars://0123456789abcdef/core/" + "0" * 32), ("URI", "tars://0123456789abcdef/lab/" + "1" * 32)),
        (("URI", "tars://0123456789abcdef/core/" + "0" * 32 + "/lab"),),
    ],
)
def test_a_certificate_that_names_no_one_node_is_refused(names: tuple[tuple[str, str], ...]) -> None:
    issuer = ((("organizationName", "0123456789abcdef"),), (("commonName", "tarsd core authority"),))

    class End:
        def getpeercert(self) -> dict[str, object]:
            return {"subjectAltName": names, "issuer": issuer, "subject": ()}

    with pytest.raises(NotAllowed, match="not one of a node"):
        peer_of(End())  # type: ignore[arg-type]


def test_a_certificate_of_another_clusters_authority_is_refused() -> None:
    issuer = ((("organizationName", "f" * 16),), (("commonName", "tarsd core authority"),))
    names = (("URI", "tars://0123456789abcdef/core/" + "0" * 32),)
    with pytest.raises(NotAllowed, match="another cluster"):
        read_certificate({"subjectAltName": names, "issuer": issuer, "subject": ()})


def test_no_tls_is_no_peer() -> None:
    with pytest.raises(NotAllowed, match="no certificate"):
        peer_of(None)
