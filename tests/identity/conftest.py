from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tarsd.identity import Identity, init_cluster
from tarsd.identity import authority as ca
from tarsd.identity.enrol import JoinRequest, admit
from tarsd.identity.invites import create_invite
from tarsd.identity.join import keep
from tarsd.identity.token import decode_token
from tarsd.names import Zone

AddNode = Callable[..., Identity]


@pytest.fixture
def pc1(tmp_path: Path) -> Identity:
    """The first node of a new cluster."""
    return init_cluster(tmp_path / "pc1", "pc1")


@pytest.fixture
def add_node(tmp_path: Path, pc1: Identity) -> AddNode:
    """Joins a further node as the join port would, without sockets."""

    def add(name: str, zone: Zone = Zone.CORE, inviter: Identity = pc1) -> Identity:
        token = decode_token(create_invite(inviter.data_dir, zone))
        key = ca.new_key()
        reply = admit(inviter.data_dir, JoinRequest(token.secret, name, ca.make_request(key)))
        root = (inviter.folder / "root.crt").read_bytes()
        return keep(tmp_path / name, root, key, zone, name, reply)

    return add
