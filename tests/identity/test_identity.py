from __future__ import annotations

import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from tarsd.errors import ConfigError, InviteError, NotAllowed, WireError
from tarsd.identity import Identity, init_cluster, load_identity, reissue, renew, request_renewal, take_renewal
from tarsd.identity import authority as ca
from tarsd.identity.folder import write_private
from tarsd.names import Zone

DAY_S = 24 * 3600.0


def test_a_new_cluster_has_a_core_node_that_loads_again_as_the_same(pc1: Identity) -> None:
    again = load_identity(pc1.data_dir)
    assert (again.node_id, again.name, again.zone, again.cluster) == (pc1.node_id, "pc1", Zone.CORE, pc1.cluster)
    assert again.as_peer() == pc1.as_peer()


def test_the_node_id_is_the_hash_of_the_public_key(pc1: Identity) -> None:
    key = (pc1.folder / "node.key").read_bytes()
    assert pc1.node_id == ca.node_id_of(ca.public_of(key))
    assert len(pc1.node_id) == 32


def test_keys_are_readable_by_their_owner_only(pc1: Identity) -> None:
    assert stat.S_IMODE(pc1.folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in pc1.folder.iterdir() if path.is_file()}
    assert set(modes.values()) == {0o600}
    assert {"node.key", "core.key", "lab.key", "root.key"} <= set(modes)


def test_a_second_init_is_refused_and_changes_nothing(pc1: Identity) -> None:
    before = (pc1.folder / "node.key").read_bytes()
    with pytest.raises(ConfigError, match="already belongs to a cluster"):
        init_cluster(pc1.data_dir, "pc9")
    assert (pc1.folder / "node.key").read_bytes() == before


def test_a_folder_without_identity_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tarsd init.*tarsd join"):
        load_identity(tmp_path)


@pytest.mark.parametrize("file", ["node.json", "node.key", "node.crt", "root.crt"])
def test_a_broken_file_is_named(pc1: Identity, file: str) -> None:
    (pc1.folder / file).write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match=file):
        load_identity(pc1.data_dir)


@pytest.mark.parametrize("name", ["", "PC1", "a b", "-pc", "x" * 33, "pc\n1"])
def test_a_name_that_no_config_would_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        init_cluster(tmp_path / "x", name)
    assert not (tmp_path / "x").exists()


def test_a_crash_while_writing_leaves_the_old_file(pc1: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pc1.folder / "node.crt"
    before = path.read_bytes()

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tarsd.identity.folder.os.fsync", fail)
    with pytest.raises(ConfigError, match="No space left"):
        write_private(path, b"half")
    assert path.read_bytes() == before
    assert not [left for left in pc1.folder.iterdir() if left.name.startswith(".")]


def test_a_node_certificate_lasts_thirty_days_and_began_an_hour_ago(pc1: Identity) -> None:
    certificate = x509.load_pem_x509_certificate((pc1.folder / "node.crt").read_bytes())
    now = time.time()
    assert abs(certificate.not_valid_after_utc.timestamp() - now - 30 * DAY_S) < 60
    assert abs(now - certificate.not_valid_before_utc.timestamp() - 3600) < 60


def test_a_zone_authority_can_make_nodes_only(pc1: Identity) -> None:
    for zone in Zone:
        certificate = x509.load_pem_x509_certificate((pc1.folder / f"{zone}.crt").read_bytes())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value.path_length == 0


def test_a_certificate_is_renewed_only_when_it_nears_its_end(pc1: Identity) -> None:
    end = pc1.not_after
    assert not renew(pc1, now=end - 11 * DAY_S)
    assert renew(pc1, now=end - 9 * DAY_S)
    assert pc1.not_after == pytest.approx(end - 9 * DAY_S + 30 * DAY_S, abs=2)
    assert load_identity(pc1.data_dir).not_after == pc1.not_after


def test_renewal_keeps_the_node_id_and_works_after_the_end(pc1: Identity) -> None:
    node_id = pc1.node_id
    assert renew(pc1, now=pc1.not_after + 100 * DAY_S)
    assert load_identity(pc1.data_dir).node_id == node_id


def test_a_lab_node_cannot_renew_itself(add_node) -> None:
    lab = add_node("lab1", Zone.LAB)
    assert not renew(lab, now=lab.not_after - 1)


def test_a_core_node_renews_a_lab_node(pc1: Identity, add_node) -> None:
    lab = add_node("lab1", Zone.LAB)
    before = lab.as_peer()
    later = lab.not_after - 5 * DAY_S
    take_renewal(lab, reissue(pc1.data_dir, lab.as_peer(), request_renewal(lab), now=later))
    assert load_identity(lab.data_dir).not_after == lab.not_after == pytest.approx(later + 30 * DAY_S, abs=2)
    certificate = x509.load_pem_x509_certificate((lab.folder / "node.crt").read_bytes())
    uris = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"/lab/{before.node_id}" in uris.get_values_for_type(x509.UniformResourceIdentifier)[0]


def test_nobody_has_another_key_certified(pc1: Identity, add_node) -> None:
    lab, pc2 = add_node("lab1", Zone.LAB), add_node("pc2")
    with pytest.raises(NotAllowed, match="its own"):
        reissue(pc1.data_dir, lab.as_peer(), request_renewal(pc2))
    with pytest.raises(WireError, match="somebody else"):
        take_renewal(lab, (pc2.folder / "node.crt").read_bytes())
    with pytest.raises(InviteError, match="only core nodes"):
        reissue(lab.data_dir, lab.as_peer(), request_renewal(lab))


def test_a_running_node_imports_no_certificate_machinery(pc1: Identity) -> None:
    code = (
        "import sys, pathlib; from tarsd.identity import load_identity; import tarsd.rpc; "
        f"load_identity(pathlib.Path({str(pc1.data_dir)!r})); print('cryptography.x509' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "False"


def test_node_json_names_its_broken_field(pc1: Identity) -> None:
    path = pc1.folder / "node.json"
    found = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(found | {"zone": "attic"}))
    with pytest.raises(ConfigError, match="zone"):
        load_identity(pc1.data_dir)
