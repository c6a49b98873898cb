"""Authorities of several generations on one core node: which are kept, which one signs."""

from __future__ import annotations

import time

import pytest

from tarsd.errors import ConfigError, NotAllowed
from tarsd.identity import Identity, issuers, load_identity, renew
from tarsd.identity import authority as ca
from tarsd.identity.folder import Signed
from tarsd.names import Zone


def root_of(identity: Identity) -> bytes:
    return (identity.folder / "root.crt").read_bytes()


def made(pc1: Identity, generation: int) -> dict[Zone, Signed]:
    root = Signed(root_of(pc1), (pc1.folder / "root.key").read_bytes())
    return {zone: ca.make_authority(root, zone, time.time(), generation) for zone in Zone}


def test_new_authorities_are_kept_beside_those_in_use(pc1: Identity) -> None:
    assert (issuers.installed(pc1.folder), issuers.using(pc1.folder)) == (1, 1)
    assert issuers.install(pc1.folder, made(pc1, 2), root_of(pc1)) == 2
    assert (issuers.installed(pc1.folder), issuers.using(pc1.folder)) == (2, 1)
    assert {path.stat().st_mode & 0o777 for path in issuers.files_of(pc1.folder, 2)} == {0o600}


def test_who_signs_changes_with_one_file_and_is_seen_in_the_next_certificate(pc1: Identity) -> None:
    issuers.install(pc1.folder, made(pc1, 2), root_of(pc1))
    assert not renew(pc1)
    issuers.use(pc1.folder, 2)
    assert renew(pc1)
    assert pc1.issuer == load_identity(pc1.data_dir).issuer == pc1.as_peer().issuer == 2


def test_what_is_not_the_roots_or_does_not_fit_is_not_kept(pc1: Identity, add_node, tmp_path) -> None:
    good, other = made(pc1, 2), made(pc1, 2)
    core, lab = good[Zone.CORE], good[Zone.LAB]
    wrong = [
        {Zone.CORE: core},  # one is missing
        {Zone.CORE: lab, Zone.LAB: core},
        {Zone.CORE: Signed(core.certificate, other[Zone.CORE].key), Zone.LAB: lab},
        {Zone.CORE: core, Zone.LAB: made(pc1, 3)[Zone.LAB]},
        {
            Zone.CORE: Signed((pc1.folder / "node.crt").read_bytes(), (pc1.folder / "node.key").read_bytes()),
            Zone.LAB: lab,
        },
    ]
    for authorities in wrong:
        with pytest.raises(NotAllowed):
            issuers.install(pc1.folder, authorities, root_of(pc1))
    assert issuers.installed(pc1.folder) == 1


def test_others_of_a_number_replace_those_not_yet_in_use_only(pc1: Identity) -> None:
    issuers.install(pc1.folder, made(pc1, 2), root_of(pc1))
    again = made(pc1, 2)
    issuers.install(pc1.folder, again, root_of(pc1))
    issuers.use(pc1.folder, 2)
    assert issuers.read_issuer(pc1.folder, Zone.CORE) == again[Zone.CORE]
    assert issuers.install(pc1.folder, again, root_of(pc1)) == 2  # said again
    with pytest.raises(NotAllowed, match="other authorities of number 2 are in use"):
        issuers.install(pc1.folder, made(pc1, 2), root_of(pc1))


def test_half_a_generation_is_none(pc1: Identity) -> None:
    issuers.install(pc1.folder, made(pc1, 2), root_of(pc1))
    (pc1.folder / "lab.2.key").unlink()
    assert issuers.installed(pc1.folder) == 1
    with pytest.raises(ConfigError, match=r"lab\.2\.key"):
        issuers.use(pc1.folder, 2)
    assert issuers.using(pc1.folder) == 1


def test_retired_keys_are_removed_and_the_one_in_use_never(pc1: Identity) -> None:
    issuers.install(pc1.folder, made(pc1, 2), root_of(pc1))
    issuers.discard_before(pc1.folder, 2)
    assert issuers.files_of(pc1.folder, 1)[0].exists()  # still in use
    issuers.use(pc1.folder, 2)
    issuers.discard_before(pc1.folder, 2)
    assert not any(path.exists() for path in issuers.files_of(pc1.folder, 1))
    assert all(path.exists() for path in issuers.files_of(pc1.folder, 2))
