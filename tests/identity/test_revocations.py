"""Notices of the core authority: who may say them, what they do, and that no disk fault takes them back."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tarsd.errors import InvalidInput, InviteError, NotAllowed
from tarsd.identity import (
    Identity,
    create_invite,
    init_cluster,
    issuers,
    load_identity,
    reissue,
    renew,
    request_renewal,
)
from tarsd.identity import authority as ca
from tarsd.identity.enrol import JoinRequest, admit
from tarsd.identity.folder import Signed
from tarsd.identity.identity import read_authority
from tarsd.identity.notices import MAX_REASON, Notice, Retirement, Revocation, plain, read_notice, retire, write_notice
from tarsd.identity.peer import PeerIdentity
from tarsd.identity.revocations import FILES, Notices
from tarsd.identity.rotation import retirement
from tarsd.identity.token import decode_token
from tarsd.names import NodeId, NodeName, Zone


def root_of(identity: Identity) -> bytes:
    return (identity.folder / "root.crt").read_bytes()


def revocation(node: Identity, reason: str = "stolen") -> Revocation:
    return Revocation(bytes.fromhex(node.node_id), node.name, int(time.time()), reason, "pc1")


def revoked(by: Identity, node: Identity, reason: str = "stolen") -> Notice:
    return write_notice(revocation(node, reason), read_authority(by.folder, Zone.CORE), root_of(by))


def notices(of: Identity) -> Notices:
    return Notices(of.folder, root_of(of), of.node_id)


def later(root: Identity, generation: int) -> dict[Zone, Signed]:
    whole = Signed(root_of(root), (root.folder / "root.key").read_bytes())
    return {zone: ca.make_authority(whole, zone, time.time(), generation) for zone in Zone}


# --- who may say it -------------------------------------------------------------------------------------------------


def test_a_notice_of_any_core_node_counts_everywhere(pc1: Identity, add_node) -> None:
    pc2, pc3, lab = add_node("pc2"), add_node("pc3"), add_node("lab1", Zone.LAB)
    notice = revoked(pc2, pc3)
    for node in (pc1, lab):
        assert [new.body for new in node.notices.take([notice.raw])] == [notice.body]
        assert node.notices.refusal(pc3.as_peer()).startswith("pc3 was revoked on ")
        assert node.notices.refusal(pc2.as_peer()) == ""
    assert pc1.notices.digest == lab.notices.digest != bytes(8)


def test_the_lab_authority_revokes_nobody(pc1: Identity, add_node) -> None:
    pc2 = add_node("pc2")
    with pytest.raises(NotAllowed, match="core authority"):
        write_notice(revocation(pc2), read_authority(pc1.folder, Zone.LAB), root_of(pc1))


def test_another_clusters_authority_revokes_nobody(pc1: Identity, add_node, tmp_path: Path) -> None:
    other = init_cluster(tmp_path / "other", "pc1")
    notice = revoked(other, add_node("pc2"))
    assert pc1.notices.take([notice.raw]) == []
    with pytest.raises(NotAllowed, match="not an authority of this cluster"):
        read_notice(notice.raw, root_of(pc1))


def test_no_byte_of_a_notice_can_be_changed_so_that_it_says_something_else(pc1: Identity, add_node) -> None:
    notice = revoked(pc1, add_node("pc2"))
    for position in range(len(notice.raw)):
        changed = notice.raw[:position] + bytes([notice.raw[position] ^ 1]) + notice.raw[position + 1 :]
        with suppress(InvalidInput, NotAllowed):
            assert read_notice(changed, root_of(pc1)).body == notice.body
    assert pc1.notices.take([notice.raw[:-1], b"", b"\x93"]) == []


def test_a_node_certificate_signs_no_notice(pc1: Identity, add_node) -> None:
    own = Signed((pc1.folder / "node.crt").read_bytes(), (pc1.folder / "node.key").read_bytes())
    with pytest.raises(NotAllowed, match="not an authority"):
        write_notice(revocation(add_node("pc2")), own, root_of(pc1))


def forged(pc1: Identity, *, by_root: bool, is_authority: bool) -> Signed:
    """A certificate that says of itself that it is this cluster's core authority."""
    key = Ed25519PrivateKey.generate()
    signer = load_pem_private_key((pc1.folder / "root.key").read_bytes(), None) if by_root else key
    subject = x509.load_pem_x509_certificate((pc1.folder / "core.crt").read_bytes()).subject
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.load_pem_x509_certificate(root_of(pc1)).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(signer, None)  # type: ignore[arg-type]
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Signed(certificate.public_bytes(Encoding.PEM), pem)


@pytest.mark.parametrize(("by_root", "is_authority"), [(False, True), (True, False)])
def test_a_certificate_that_only_says_it_is_the_core_authority_signs_no_notice(
    pc1: Identity, add_node, by_root: bool, is_authority: bool
) -> None:
    pc2 = add_node("pc2")
    liar = forged(pc1, by_root=by_root, is_authority=is_authority)
    with pytest.raises(NotAllowed, match="not an authority of this cluster"):
        write_notice(revocation(pc2), liar, root_of(pc1))
    der = x509.load_pem_x509_certificate(liar.certificate).public_bytes(Encoding.DER)
    body = msgspec.msgpack.encode(revocation(pc2))
    raw = msgspec.msgpack.encode([body, der, ca.sign(liar.key, b"tarsd notice 1" + body)])
    assert pc1.notices.take([raw]) == []
    assert pc2.node_id not in pc1.notices


def test_a_notice_fits_a_datagram(pc1: Identity, add_node) -> None:
    notice = revoked(pc1, add_node("a" * 32), "é" * (MAX_REASON // 2))
    assert len(notice.raw) <= 1100


# --- it only grows --------------------------------------------------------------------------------------------------


def test_notices_are_a_union_in_any_order(pc1: Identity, add_node) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    a, b = revoked(pc1, pc2), revoked(pc1, pc3)
    one, two = notices(pc1), notices(pc1)
    one.take([a.raw, b.raw])
    two.take([b.raw])
    two.take([a.raw, b.raw])
    assert one.digest == two.digest
    assert {r.node_id for r in one.revoked()} == {r.node_id for r in two.revoked()} == {pc2.node_id, pc3.node_id}


def test_the_same_revocation_said_twice_is_news_once(pc1: Identity, add_node) -> None:
    pc2 = add_node("pc2")
    assert len(pc1.notices.take([revoked(pc1, pc2, "stolen").raw, revoked(pc1, pc2, "again").raw])) == 1
    of = pc1.notices.of(pc2.node_id)
    assert of is not None
    assert of.reason == "stolen"


def test_notices_survive_a_restart(pc1: Identity, add_node) -> None:
    pc2 = add_node("pc2")
    pc1.notices.take([revoked(pc1, pc2).raw])
    pc1.notices.save()
    again = load_identity(pc1.data_dir)
    assert again.notices.refusal(pc2.as_peer())
    assert again.notices.digest == pc1.notices.digest
    assert again.notices.problem == ""
    assert {(pc1.folder / name).stat().st_mode & 0o777 for name in FILES} == {0o600}


@pytest.mark.parametrize("damaged", FILES)
@pytest.mark.parametrize("damage", [b"", b"rubbish\n", None])
def test_a_damaged_file_brings_nobody_back(pc1: Identity, add_node, damaged: str, damage: bytes | None) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    pc1.notices.take([revoked(pc1, pc2).raw, revoked(pc1, pc3).raw])
    pc1.notices.save()
    path = pc1.folder / damaged
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    again = notices(pc1)
    assert pc2.node_id in again
    assert pc3.node_id in again
    if damage:
        assert "damaged" in again.problem
        assert path.with_suffix(".broken").exists()
        assert path.read_bytes().count(b"\n") == 2  # mended from the other one


def test_of_two_damaged_files_the_whole_lines_count(pc1: Identity, add_node) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    pc1.notices.take([revoked(pc1, pc2).raw, revoked(pc1, pc3).raw])
    pc1.notices.save()
    for name in FILES:
        first = (pc1.folder / name).read_bytes().splitlines()[0]
        (pc1.folder / name).write_bytes(first + b"\n{")
    again = notices(pc1)
    assert pc2.node_id in again
    assert pc3.node_id not in again
    assert "comes back from the other nodes" in again.problem


def test_a_line_that_somebody_wrote_into_the_file_is_not_believed(pc1: Identity, add_node, tmp_path: Path) -> None:
    other = init_cluster(tmp_path / "other", "pc1")
    pc2 = add_node("pc2")
    line = {"about": "pc2 was revoked", "notice": revoked(other, pc2).raw}
    (pc1.folder / FILES[0]).write_bytes(msgspec.json.encode(line))
    assert pc2.node_id not in notices(pc1)


# --- what it does ---------------------------------------------------------------------------------------------------


def test_a_revoked_node_has_nothing_renewed(pc1: Identity, add_node) -> None:
    pc2, lab = add_node("pc2"), add_node("lab1", Zone.LAB)
    pc1.notices.take([revoked(pc1, lab).raw])
    pc1.notices.save()
    with pytest.raises(NotAllowed, match="no certificate is renewed: lab1 was revoked"):
        reissue(pc1.data_dir, lab.as_peer(), request_renewal(lab))
    pc2.notices.take([revoked(pc1, pc2).raw])
    pc2.notices.save()
    assert not renew(pc2, now=pc2.not_after - 1)
    with pytest.raises(NotAllowed, match="pc2 was revoked"):
        reissue(pc2.data_dir, pc1.as_peer(), request_renewal(pc1))


def test_a_revoked_node_lets_nobody_in_and_does_not_come_in_again_by_its_key(pc1: Identity, add_node) -> None:
    pc2 = add_node("pc2")
    key = (pc2.folder / "node.key").read_bytes()
    tokens = [decode_token(create_invite(node.data_dir)) for node in (pc1, pc2)]
    for node, token in zip((pc1, pc2), tokens, strict=True):
        node.notices.take([revoked(pc1, pc2).raw])
        node.notices.save()
        with pytest.raises(InviteError, match="revoked"):
            admit(node.data_dir, JoinRequest(token.secret, "pc2", ca.make_request(key)))
    with pytest.raises(InviteError, match="this node was revoked"):
        admit(pc2.data_dir, JoinRequest(tokens[1].secret, "pc4", ca.make_request(ca.new_key())))
    with pytest.raises(InviteError, match="revoked"):
        create_invite(pc2.data_dir)
    assert not pc2.can_invite


def test_joining_again_makes_another_node(pc1: Identity, add_node, tmp_path: Path) -> None:
    pc2 = add_node("pc2")
    pc1.notices.take([revoked(pc1, pc2).raw])
    pc1.notices.save()
    pc2.data_dir.rename(tmp_path / "old")
    again = add_node("pc2")
    assert again.node_id != pc2.node_id
    assert pc1.notices.refusal(again.as_peer()) == ""
    assert again.notices.refusal(pc2.as_peer())  # who joins is told who is revoked


# --- authorities that are retired -----------------------------------------------------------------------------------


def test_certificates_of_a_retired_authority_are_refused_but_those_of_vouched_nodes(pc1: Identity, add_node) -> None:
    pc2 = add_node("pc2")
    second = later(pc1, 2)
    notice = write_notice(retire(2, int(time.time()), [(pc2.node_id, Zone.CORE)]), second[Zone.CORE], root_of(pc1))
    pc1.notices.take([notice.raw])
    thief = PeerIdentity(NodeId("f" * 32), pc2.name, Zone.CORE, 1)
    assert "replaced" in pc1.notices.refusal(thief)
    assert pc1.notices.refusal(pc2.as_peer()) == ""
    assert "replaced" in pc1.notices.refusal(PeerIdentity(pc2.node_id, pc2.name, Zone.LAB, 1))
    assert pc1.notices.refusal(PeerIdentity(thief.node_id, thief.name, Zone.CORE, 2)) == ""


def test_a_retired_authority_is_not_believed_any_more(pc1: Identity, add_node) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    before, stolen = revoked(pc1, pc3), revoked(pc1, pc2)
    second = later(pc1, 2)
    pc1.notices.take([before.raw])
    pc1.notices.take([write_notice(Retirement(2, 0), second[Zone.CORE], root_of(pc1)).raw])
    assert pc1.notices.take([stolen.raw]) == []
    assert pc2.node_id not in pc1.notices
    assert pc3.node_id in pc1.notices  # what was known stays
    said_again = write_notice(revocation(pc2), second[Zone.CORE], root_of(pc1))
    assert len(pc1.notices.take([said_again.raw])) == 1


def test_an_authority_cannot_retire_itself(pc1: Identity) -> None:
    with pytest.raises(NotAllowed, match="retire itself"):
        write_notice(Retirement(2, 0), read_authority(pc1.folder, Zone.CORE), root_of(pc1))


def retired(pc1: Identity, generation: int, vouched: list[tuple[NodeId, Zone]] | None = None) -> Notice:
    return write_notice(retire(generation, 0, vouched or []), later(pc1, generation)[Zone.CORE], root_of(pc1))


def test_who_missed_a_retirement_agrees_with_those_who_did_not(
    pc1: Identity, add_node, caplog: pytest.LogCaptureFixture
) -> None:
    present, absent = notices(pc1), notices(add_node("pc2"))
    second, third = retired(pc1, 2), retired(pc1, 3)
    present.take([second.raw])
    present.take([third.raw])
    absent.take([third.raw])
    assert present.digest == absent.digest
    assert present.all() == absent.all() == [third.raw]
    caplog.clear()
    assert absent.take([second.raw]) == []
    assert caplog.records == []
    assert absent.minimum == 3
    present.save()
    assert notices(pc1).digest == absent.digest
    assert (pc1.folder / FILES[0]).read_bytes().count(b"\n") == 1


def test_what_only_a_retired_authority_had_revoked_is_not_in_the_hash_nor_told(pc1: Identity, add_node) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    alone = notices(pc1)
    alone.take([revoked(pc1, pc3).raw])
    for book in (alone, pc2.notices):
        book.take([retired(pc1, 2).raw])
    assert alone.digest == pc2.notices.digest
    assert len(alone.all()) == 1
    assert pc3.node_id in alone
    assert not alone.is_believed(pc3.node_id)
    assert alone.unbelieved() == []  # it was not this node that had said it
    again = write_notice(revocation(pc3), later(pc1, 2)[Zone.CORE], root_of(pc1))
    for book in (alone, pc2.notices):
        book.take([again.raw])
    assert alone.digest == pc2.notices.digest
    assert alone.is_believed(pc3.node_id)


def test_a_node_knows_after_a_restart_what_it_has_to_say_again(pc1: Identity, add_node) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    book = notices(pc1)
    book.say(revoked(pc1, pc2))
    book.take([revoked(pc1, pc3).raw])
    assert book.unbelieved() == []
    book.take([retired(pc1, 2).raw])
    book.save()
    assert [found.node_id for found in notices(pc1).unbelieved()] == [pc2.node_id]


@pytest.mark.parametrize("at", [2**62, -1, 253_402_300_800])
def test_a_date_that_is_none_is_refused(pc1: Identity, add_node, at: int) -> None:
    pc2 = add_node("pc2")
    core = read_authority(pc1.folder, Zone.CORE)
    for body in (Revocation(bytes.fromhex(pc2.node_id), "pc2", at), Retirement(2, at)):
        with pytest.raises(InvalidInput, match="not a notice"):
            write_notice(body, core, root_of(pc1))
    last = write_notice(Revocation(bytes(16), "pc2", 253_402_300_799), core, root_of(pc1)).body
    assert isinstance(last, Revocation)
    assert "pc2 was revoked on" in last.sentence


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "b\x7f", "c\x9b", "d\u202e", "e\n"])
@pytest.mark.parametrize("field", ["name", "reason", "by"])
def test_a_text_that_would_move_a_terminal_is_refused(pc1: Identity, text: str, field: str) -> None:
    body = msgspec.structs.replace(Revocation(bytes(16), "pc2", 0), **{field: text})
    core = read_authority(pc1.folder, Zone.CORE)
    with pytest.raises(InvalidInput, match="not a notice"):
        write_notice(body, core, root_of(pc1))
    write_notice(msgspec.structs.replace(body, **{field: plain(text)}), core, root_of(pc1))


def test_a_retirement_names_two_thousand_nodes(pc1: Identity) -> None:
    nodes = [(NodeId(f"{number:032x}"), Zone.LAB if number % 2 else Zone.CORE) for number in range(2000)]
    pc1.notices.take([retired(pc1, 2, nodes).raw])
    for node, zone in (nodes[0], nodes[-1]):
        assert pc1.notices.refusal(PeerIdentity(node, NodeName("pc"), zone, 1)) == ""
    assert pc1.notices.refusal(PeerIdentity(nodes[0][0], NodeName("pc"), Zone.LAB, 1))


def test_ids_of_another_length_are_refused(pc1: Identity) -> None:
    with pytest.raises(InvalidInput, match="16 bytes"):
        write_notice(Retirement(2, 0, b"x" * 17), later(pc1, 2)[Zone.CORE], root_of(pc1))


def test_the_retirement_is_told_first_whatever_was_revoked_since(pc1: Identity, add_node) -> None:
    pc2 = add_node("pc2")
    first = retired(pc1, 2)
    pc1.notices.take([first.raw])
    said = write_notice(revocation(pc2), later(pc1, 2)[Zone.CORE], root_of(pc1))
    pc1.notices.take([said.raw])
    assert pc1.notices.all() == [first.raw, said.raw]


def test_a_thief_who_fills_the_list_does_not_keep_his_authority(
    pc1: Identity, add_node, monkeypatch: pytest.MonkeyPatch
) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    monkeypatch.setattr("tarsd.identity.revocations.MAX_NOTICES", 1)
    assert len(pc1.notices.take([revoked(pc1, pc2).raw, revoked(pc1, pc3).raw])) == 1
    pc1.notices.take([retired(pc1, 2).raw])
    assert pc1.notices.minimum == 2


def test_what_is_not_believed_is_warned_of_once(pc1: Identity, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tarsd.identity.revocations"):
        for _ in range(3):
            pc1.notices.take([b"rubbish"])
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.DEBUG, logging.DEBUG]


def test_who_missed_the_new_authorities_lets_nobody_in(pc1: Identity, add_node) -> None:
    token = decode_token(create_invite(pc1.data_dir))
    pc1.notices.take([retired(pc1, 2, [(pc1.node_id, Zone.CORE)]).raw])
    pc1.notices.save()
    with pytest.raises(InviteError, match="replaced while this node was off"):
        admit(pc1.data_dir, JoinRequest(token.secret, "pc4", ca.make_request(ca.new_key())))


def test_a_change_of_authorities_does_not_say_again_what_nobody_believes(pc1: Identity, add_node) -> None:
    pc2, pc3 = add_node("pc2"), add_node("pc3")
    pc1.notices.take([revoked(pc1, pc2).raw, retired(pc1, 2).raw])
    pc1.notices.take([write_notice(revocation(pc3), later(pc1, 2)[Zone.CORE], root_of(pc1)).raw])
    issuers.install(pc1.folder, later(pc1, 3), root_of(pc1))
    bodies = [read_notice(raw, root_of(pc1)).body for raw in retirement(pc1, 3, [])]
    assert [body.node_id for body in bodies if isinstance(body, Revocation)] == [pc3.node_id]
