"""Where else people can go: which URLs are told, which are believed, and who hears of them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest

from tarsd.api.peers import MAX_PEERS, MAX_URLS, api_urls, member_origins, origin_of, peer_urls
from tarsd.config import Api
from tarsd.gossip.member import State
from tarsd.names import Zone
from tarsd.passes import PassBook, digest_of
from tests.api import scripted_services as scripted
from tests.api.scripted_services import member
from tests.processes.real_nodes import until

OWN = ["192.168.1.20", "fe80::1%eth0", "fd00::1"]


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("settings", "network", "told"),
    [
        ({}, ["127.0.0.1"], ("http://127.0.0.1:7711",)),
        ({}, ["0.0.0.0"], ()),  # people of this PC only
        ({}, ["127.0.0.1", "192.168.1.20"], ()),
        ({"listen": "192.168.1.20", "tls_cert": "c"}, ["0.0.0.0"], ("https://192.168.1.20:7711",)),
        ({"listen": "fd00::1", "tls_cert": "c"}, ["::"], ("https://[fd00::1]:7711",)),
        (
            {"listen": "0.0.0.0", "tls_cert": "c", "allowed_hosts": ("tars.home",)},
            ["0.0.0.0"],
            ("https://192.168.1.20:7711", "https://[fd00::1]:7711", "https://tars.home:7711"),
        ),
    ],
)
def test_a_node_tells_the_urls_that_others_reach(settings, network, told):
    assert api_urls(Api(**settings), 7711, network, OWN) == told


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:7711", "http://127.0.0.1:7711"),
        ("https://tars.home/", "https://tars.home"),
        ("https://tars.home:443", "https://tars.home"),
        ("HTTPS://Tars.Home:7711", "https://tars.home:7711"),
        ("https://[fd00::1]:7711", "https://[fd00::1]:7711"),
        ("https://evil.example/path", ""),
        ("https://a@evil.example", ""),
        ("https://evil.example?x", ""),
        ("https://evil.example#x", ""),
        ("ftp://evil.example", ""),
        ("javascript:alert(1)", ""),
        ("https://evil.example; script-src *", ""),
        ("https://*", ""),
        ("https://a:b:c", ""),
        ("https://a:99999", ""),
        ("https://[::1", ""),
        ("https://[fe80::1%25eth0]:7711", ""),
        ("", ""),
    ],
)
def test_a_url_is_taken_in_its_plain_form_only(url, origin):
    assert origin_of(url) == origin


def lan(name, number, **changes):
    return member(name, api=(f"https://192.168.1.{number}:7711",), **changes)


def test_clients_are_told_who_is_there_the_best_first():
    own = lan("pc1", 1, is_self=True)
    members = [
        own,
        lan("pc2", 2, state=State.SUSPECT),
        lan("pc3", 3, hold_s=5.0),
        lan("pc4", 4),
        lan("pc5", 5, state=State.DEAD),
        lan("pc6", 6, state=State.LEFT),
        lan("pc7", 7, zone=Zone.LAB),
        lan("pc8", 8, zone=None),
        member("pc9"),
    ]
    assert peer_urls(members) == [f"https://192.168.1.{n}:7711" for n in (4, 3, 2)]


def test_loopback_is_a_place_to_go_only_where_this_nodes_network_is_on_loopback():
    far = member("pc2", api=("http://127.0.0.1:7712",))
    assert peer_urls([lan("pc1", 1, is_self=True), far]) == []
    assert peer_urls([member("pc1", is_self=True), far]) == []
    near = member("pc1", is_self=True, api=("http://127.0.0.1:7711",))
    assert peer_urls([near, far]) == ["http://127.0.0.1:7712"]


def test_what_clients_are_told_is_bounded():
    crowd = [member(f"pc{n:02}", api=tuple(f"https://10.0.{n}.{m}" for m in range(9))) for n in range(40)]
    assert len(peer_urls(crowd)) == MAX_PEERS
    assert len(member_origins(crowd[:1])) == MAX_URLS


def test_the_pages_of_core_members_count_even_when_they_are_gone_but_not_revoked():
    members = [lan("pc1", 1, state=State.DEAD), lan("pc2", 2, state=State.LEFT), lan("pc3", 3, zone=Zone.LAB)]
    assert member_origins(members) == {"https://192.168.1.1:7711", "https://192.168.1.2:7711"}
    revoked = lan("pc4", 4, state=State.REVOKED)
    assert member_origins([revoked]) == frozenset()


async def test_the_same_peers_are_not_told_again(serve, client, monkeypatch):
    monkeypatch.setattr("tarsd.api.sockets.LOOK_S", 0.001)
    looks: list[None] = []

    def members():
        looks.append(None)
        return (member("pc1", is_self=True),)

    served = await serve(members=members)
    async with client.ws_connect(served.url + "/ws") as socket:
        assert json.loads(await socket.receive_str())["type"] == "session"
        await until(lambda: len(looks) > 20, 5, "they are looked at")
        await socket.send_json({"type": "ask", "text": "q"})
        assert json.loads(await socket.receive_str())["type"] == "route"


async def test_the_session_tells_the_peers_and_says_when_they_change(serve, client):
    members, subscribed = [member("pc1", is_self=True, api=("http://127.0.0.1:1",))], []

    def subscribe(callback):
        subscribed.append(callback)
        return lambda: subscribed.remove(callback)

    served = await serve(members=lambda: tuple(members), subscribe=subscribe)
    async with client.ws_connect(served.url + "/ws") as socket:
        assert json.loads(await socket.receive_str())["peers"] == []
        members.append(member("pc3", api=("http://127.0.0.1:3",)))
        for callback in subscribed:
            callback(members[-1])
        told = json.loads(await asyncio.wait_for(socket.receive_str(), 30))
        assert told == {"type": "peers", "peers": ["http://127.0.0.1:3"]}
    await served.server.stop(0.0)
    assert subscribed == []


class TestTheGuard:
    """Origins of other members' pages."""

    members = (
        member("pc1", is_self=True),
        member("pc3", state=State.DEAD, api=("https://192.168.1.3:7711",)),
        member("pc4", state=State.REVOKED, api=("https://192.168.1.4:7711",)),
    )

    @pytest.mark.parametrize(
        ("origin", "opened"),
        [
            ("https://192.168.1.3:7711", True),
            ("http://192.168.1.3:7711", False),
            ("https://192.168.1.3", False),
            ("https://192.168.1.3:7711.evil.example", False),
            ("https://192.168.1.4:7711", False),
            ("https://192.168.1.9:7711", False),
            ("null", False),
        ],
    )
    async def test_another_members_page_may_open_the_chat_with_a_pass(self, serve, client, origin, opened):
        served = await serve(members=lambda: self.members, passes=self.book())
        shown: Any = {"origin": origin, "protocols": ["tarsd", "tarsd.pass.the-secret"]}
        if opened:
            async with client.ws_connect(served.url + "/ws", **shown) as chat:
                assert (await chat.receive_json())["type"] == "session"
            return
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect(served.url + "/ws", **shown)
        assert caught.value.status == 403

    @pytest.mark.parametrize("protocols", [[], ["tarsd"], ["tarsd", "tarsd.pass.wrong"]])
    async def test_without_a_pass_it_may_not_even_where_no_token_is_needed(self, serve, client, protocols):
        """Whoever has the address of a member that is gone could else ask here, by our own browsers."""
        served = await serve(members=lambda: self.members, passes=self.book())
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect(served.url + "/ws", origin="https://192.168.1.3:7711", protocols=protocols)
        assert caught.value.status == 403

    def book(self) -> PassBook:
        """The pass of a session at pc3."""
        book, now = PassBook(), time.monotonic()
        book.admit(self.members[1].node, [digest_of("the-secret")], now + 60, now)
        return book

    async def test_but_it_may_change_nothing(self, serve, client):
        served = await serve(members=lambda: self.members)
        headers = {"Origin": "https://192.168.1.3:7711", "Authorization": "Bearer the-admin-token"}
        for path in ("/api/documents?file=a.md", "/v1/chat/completions", "/api/nightly", "/api/session"):
            async with client.post(served.url + path, headers=headers, json={}) as response:
                assert response.status == 403

    async def test_the_page_may_connect_to_members_and_nobody_else(self, serve, client):
        known = [*self.members, member("pc5", api=("https://x.example; script-src *", "https://y.example/path"))]
        served = await serve(members=lambda: tuple(known), settings=scripted.settings())
        async with client.get(served.url + "/") as response:
            policy, tag = response.headers["Content-Security-Policy"], response.headers["ETag"]
        assert policy.endswith("; connect-src 'self' wss://192.168.1.3:7711")
        known.append(member("pc6", api=("http://192.168.1.6:7711",)))
        async with client.get(served.url + "/", headers={"If-None-Match": tag}) as response:
            assert response.status == 200  # a browser keeps the policy with the page
            assert "ws://192.168.1.6:7711" in response.headers["Content-Security-Policy"]
