"""Joining over real sockets on loopback."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tarsd import wire
from tarsd.errors import ConfigError, InviteError, Overloaded, PeerLost
from tarsd.identity import (
    Identity,
    JoinServer,
    create_invite,
    enrol,
    init_cluster,
    invites,
    join,
    join_server,
    load_identity,
)
from tarsd.identity.join import inviter_of
from tarsd.identity.token import Token, decode_token
from tarsd.names import Zone


@pytest.fixture
async def port(pc1: Identity) -> AsyncIterator[JoinServer]:
    server = JoinServer(pc1, ["127.0.0.1"], 0)
    await server.start()
    yield server
    await server.stop()


def at(server: JoinServer) -> list[str]:
    return [f"127.0.0.1:{server.port}"]


async def invite(server: JoinServer, inviter: Identity, zone: Zone = Zone.CORE, expires_s: float = 60) -> str:
    token = create_invite(inviter.data_dir, zone, expires_s)
    await server.refresh()
    return token


async def closed(server: JoinServer) -> None:
    async with asyncio.timeout(30):
        while server.is_open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_core_node_joins_and_can_invite_in_turn(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    token = await invite(port, pc1)
    pc2 = await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", at(port))
    assert (pc2.name, pc2.zone, pc2.cluster) == ("pc2", Zone.CORE, pc1.cluster)
    assert load_identity(tmp_path / "pc2").node_id == pc2.node_id
    assert create_invite(tmp_path / "pc2")


async def test_a_lab_node_joins_as_lab(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    token = await invite(port, pc1, Zone.LAB)
    lab = await asyncio.to_thread(join, token, tmp_path / "lab", "lab1", at(port))
    assert (lab.zone, lab.can_invite) == (Zone.LAB, False)


async def test_the_tokens_own_hints_suffice(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    await invite(port, pc1)
    token = create_invite(pc1.data_dir, hints=["127.0.0.1:1", *at(port)])
    assert (await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2")).cluster == pc1.cluster


async def test_the_port_is_open_only_while_an_invitation_is(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    assert not port.is_open
    token = await invite(port, pc1)
    assert port.is_open
    await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", at(port))
    await closed(port)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port.port)


async def test_the_port_closes_when_the_invitation_expires(port: JoinServer, pc1: Identity) -> None:
    await invite(port, pc1, expires_s=0.3)
    assert port.is_open
    await closed(port)


async def test_a_token_used_twice_is_refused(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    token = await invite(port, pc1)
    await invite(port, pc1)  # keeps the port open
    await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", at(port))
    with pytest.raises(InviteError, match="used already"):
        await asyncio.to_thread(join, token, tmp_path / "pc3", "pc3", at(port))
    assert not (tmp_path / "pc3").exists()


async def test_of_two_at_once_one_gets_in(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    token = await invite(port, pc1)
    await invite(port, pc1)
    both = [asyncio.to_thread(join, token, tmp_path / name, name, at(port)) for name in ("pc2", "pc3")]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Identity", "InviteError"]


async def test_an_expired_token_is_refused_while_the_port_is_open(
    port: JoinServer, pc1: Identity, tmp_path: Path
) -> None:
    await invite(port, pc1)
    token = create_invite(pc1.data_dir, expires_s=60, now=time.time() - 61)
    with pytest.raises(InviteError, match="expired"):
        await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", at(port))


async def test_an_expired_token_is_told_when_nobody_listens(pc1: Identity, tmp_path: Path) -> None:
    token = create_invite(pc1.data_dir, expires_s=60, now=time.time() - 61)
    with pytest.raises(InviteError, match="expired"):
        await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", ["127.0.0.1:1"])


async def test_a_wrong_secret_is_refused(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    good = decode_token(await invite(port, pc1))
    wrong = Token(good.pin, bytes(16), Zone.CORE, good.expires).encode()
    with pytest.raises(InviteError, match="not known here"):
        await asyncio.to_thread(join, wrong, tmp_path / "pc2", "pc2", at(port))


async def test_a_closed_port_is_explained(pc1: Identity, tmp_path: Path) -> None:
    token = create_invite(pc1.data_dir)
    with pytest.raises(PeerLost, match=r"127\.0\.0\.1:1: Connection refused.*open only while an invitation is"):
        await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", ["127.0.0.1:1"])
    with pytest.raises(InviteError, match="names no address"):
        await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2")


async def test_many_refusals_close_the_ears_for_a_minute(port: JoinServer, pc1: Identity, tmp_path: Path) -> None:
    good = await invite(port, pc1)
    pinned = decode_token(good)
    wrong = Token(pinned.pin, bytes(16), Zone.CORE, pinned.expires).encode()
    for _ in range(join_server.MAX_FAILURES):
        with pytest.raises(InviteError):
            await asyncio.to_thread(join, wrong, tmp_path / "pc2", "pc2", at(port))
    with pytest.raises((PeerLost, Overloaded), match="too many refused"):
        await asyncio.to_thread(join, good, tmp_path / "pc2", "pc2", at(port))
    assert len(invites.pending(pc1.data_dir)) == 1


async def test_another_clusters_port_is_shown_no_secret(
    tmp_path: Path, pc1: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = init_cluster(tmp_path / "other", "pc1")
    impostor = JoinServer(other, ["127.0.0.1"], 0)
    await impostor.start()
    await invite(impostor, other)
    monkeypatch.setattr(enrol, "admit", lambda *_: pytest.fail("the secret was sent"))
    token = create_invite(pc1.data_dir)
    try:
        with pytest.raises(InviteError, match=r"another cluster.*nothing was sent"):
            await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", at(impostor))
    finally:
        await impostor.stop()


async def _serve_root(context: ssl.SSLContext, root: bytes, now: float) -> tuple[web.Server, asyncio.Server, list[str]]:
    """Serve /root alone, whatever the certificate; note all requests."""
    seen: list[str] = []

    async def reply(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        return web.Response(body=wire.encode(enrol.RootReply(root=root, now=now)))

    http_server = web.Server(reply)
    return http_server, await asyncio.get_running_loop().create_server(http_server, "127.0.0.1", 0, ssl=context), seen


@pytest.mark.parametrize("who", ["stranger", "lab"])
async def test_who_shows_the_right_root_but_is_no_core_node_is_shown_no_secret(
    who: str, tmp_path: Path, pc1: Identity, add_node
) -> None:
    if who == "stranger":
        folder = init_cluster(tmp_path / "other", "pc1").folder
    else:
        folder = add_node("lab1", Zone.LAB).folder
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "node.crt", folder / "node.key")
    root = (pc1.folder / "root.crt").read_bytes()
    http_server, listener, seen = await _serve_root(context, root, time.time())
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        with pytest.raises(InviteError, match=r"not a core node|not a node of the join token's cluster"):
            await asyncio.to_thread(join, create_invite(pc1.data_dir), tmp_path / "pc2", "pc2", [address])
    finally:
        listener.close()
        await http_server.shutdown(0.1)
    assert seen == ["/root"]


async def test_clocks_that_differ_are_named_before_the_token_is_spent(tmp_path: Path, pc1: Identity) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pc1.folder / "node.crt", pc1.folder / "node.key")
    root = (pc1.folder / "root.crt").read_bytes()
    http_server, listener, seen = await _serve_root(context, root, time.time() + 7200)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        with pytest.raises(ConfigError, match=r"clocks.*differ by 120 minutes.*this one is behind"):
            await asyncio.to_thread(join, create_invite(pc1.data_dir), tmp_path / "pc2", "pc2", [address])
    finally:
        listener.close()
        await http_server.shutdown(0.1)
    assert seen == ["/root"]


async def test_a_node_of_a_cluster_cannot_join_again(port: JoinServer, pc1: Identity) -> None:
    token = await invite(port, pc1)
    with pytest.raises(ConfigError, match="already belongs"):
        await asyncio.to_thread(join, token, pc1.data_dir, "pc1", at(port))
    assert len(invites.pending(pc1.data_dir)) == 1


def _ask(server: JoinServer, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=30)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/join", b"\xff\xff"),
        ("POST", "/join", bytes(70_000)),
        ("GET", "/join", b""),
        ("GET", "/rpc/records", b""),
        ("GET", "/../node.key", b""),
    ],
)
async def test_rubbish_is_refused_and_uses_nothing_up(
    port: JoinServer, pc1: Identity, method: str, path: str, body: bytes
) -> None:
    await invite(port, pc1)
    status, answer = await asyncio.to_thread(_ask, port, method, path, body)
    assert status == 403
    assert b"KEY" not in answer
    assert len(invites.pending(pc1.data_dir)) == 1


async def test_a_silent_stranger_does_not_hold_the_port(
    port: JoinServer, pc1: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join_server, "HANDSHAKE_S", 1.0)
    token = await invite(port, pc1)
    stranger = socket.create_connection(("127.0.0.1", port.port))
    stranger.settimeout(30)
    pc2 = await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", at(port))
    assert pc2.cluster == pc1.cluster
    assert await asyncio.to_thread(stranger.recv, 1) == b""
    stranger.close()


@pytest.mark.parametrize("peer_port", [0, 7710])
async def test_who_joins_knows_where_its_inviter_listens_to_peers(
    pc1: Identity, tmp_path: Path, peer_port: int
) -> None:
    server = JoinServer(pc1, ["127.0.0.1"], 0, peer_port=peer_port)
    await server.start()
    try:
        token = await invite(server, pc1)
        await asyncio.to_thread(join, token, tmp_path / "pc2", "pc2", at(server))
    finally:
        await server.stop()
    assert inviter_of(tmp_path / "pc2") == (f"127.0.0.1:{peer_port}" if peer_port else None)


@pytest.mark.parametrize("text", ["", "{", '{"host": "x"}', '{"host": "x", "port": 0}'])
def test_a_broken_note_of_the_inviter_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity").mkdir()
    (tmp_path / "identity" / "inviter.json").write_text(text)
    assert inviter_of(tmp_path) is None
