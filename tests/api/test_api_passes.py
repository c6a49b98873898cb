"""Passes: given to sessions, told to the peers as hashes, and what they open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest

from tarsd import calls
from tarsd.api.passes import Passes
from tarsd.config import Api
from tarsd.errors import PeerLost
from tarsd.gossip.member import State
from tarsd.names import Capability
from tarsd.passes import PassBook, digest_of
from tests.api.scripted_services import ScriptedDispatch, ScriptedHost, member, services

TAKES = {Capability("pass"): {}}
OWN = member("pc1", is_self=True, api=("https://192.168.1.1:7711",))
PC2 = member("pc2", api=("https://192.168.1.2:7711",), capabilities=TAKES)
PC3 = member("pc3", api=("https://192.168.1.3:7711",), capabilities=TAKES)


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


class Telling:
    """A `Passes` that runs, and what it told."""

    def __init__(self, tmp_path: Any, *members: Any) -> None:
        self.members = list(members)
        self.dispatch = ScriptedDispatch({"pass": [calls.PassItem()]})
        known = services(tmp_path, ScriptedHost(), self.dispatch, members=lambda: tuple(self.members))
        self.book = known.passes
        self.passes = Passes(known)

    def told(self) -> list[tuple[Any, list[bytes]]]:
        return [(options["only"], request.digests) for _, request, options in self.dispatch.calls]

    def freeze(self, peer: Any, refuses_after_s: float | None = None) -> asyncio.Event:
        """From now on it takes what it is told only once the event that is returned is set, or refuses it late."""
        thawed, call = asyncio.Event(), self.dispatch.call

        async def late() -> AsyncGenerator[calls.PassItem, None]:
            if refuses_after_s is not None:
                await asyncio.sleep(refuses_after_s)
                raise PeerLost("gone")
            await thawed.wait()
            yield calls.PassItem()

        def held_up(spec: Any, request: Any, **options: Any) -> Any:
            made = call(spec, request, **options)
            return late() if options["only"] == peer.node else made

        self.dispatch.call = held_up  # type: ignore[method-assign]
        return thawed

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.dispatch.calls) < count:  # noqa: ASYNC110 - another task has no event for us
                await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def telling(tmp_path):
    found: list[asyncio.Task[None]] = []

    def start(*members: Any) -> Telling:
        made = Telling(tmp_path, *members)
        found.append(asyncio.create_task(made.passes.run()))
        return made

    yield start
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)


async def test_the_peers_are_told_a_hash_and_never_the_pass(telling):
    node = telling(OWN, PC2)
    secret = node.passes.give()
    await node.until(1)
    assert node.told() == [(PC2.node, [digest_of(secret)])]
    assert len(secret) >= 43  # 32 random bytes


async def test_only_peers_that_can_take_people_are_told(telling):
    node = telling(
        OWN,
        member("pc3", capabilities=TAKES),
        member("pc4", api=("https://192.168.1.4",), capabilities=TAKES, state=State.DEAD),
        member("pc5", api=("https://192.168.1.5",)),
        PC2,
    )
    node.passes.give()
    await node.until(1)
    assert [only for only, _ in node.told()] == [PC2.node]


async def test_who_comes_or_starts_again_is_told_all_that_are_in_force(telling):
    node = telling(OWN)
    kept, ended = node.passes.give(), node.passes.give()
    node.passes.end(ended)
    node.members.append(PC2)
    node.passes.members_changed()
    await node.until(1)
    node.members[-1] = member("pc2", api=PC2.api, capabilities=TAKES, generation=2)
    node.passes.members_changed()
    await node.until(2)
    assert [digests for _, digests in node.told()] == [[digest_of(kept)]] * 2


async def test_who_knows_is_not_told_again(telling):
    node = telling(OWN, PC2)
    node.passes.give()
    await node.until(1)
    node.passes.members_changed()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(node.told()) == 1


async def test_they_are_renewed_before_they_end(telling, monkeypatch):
    monkeypatch.setattr("tarsd.api.passes.RENEW_S", 0.02)
    node = telling(OWN, PC2)
    node.passes.give()
    await node.until(3)


async def test_they_are_renewed_although_there_is_news_all_the_time(telling, monkeypatch):
    monkeypatch.setattr("tarsd.api.passes.RENEW_S", 0.05)
    node = telling(OWN, PC2)
    node.passes.give()
    await node.until(1)
    async with asyncio.timeout(30):
        while len(node.told()) < 3:
            node.passes.members_changed()
            await asyncio.sleep(0.005)


async def test_who_did_not_take_them_is_told_again(telling, monkeypatch):
    monkeypatch.setattr("tarsd.api.passes.AGAIN_S", 0.01)
    node = telling(OWN, PC3, PC2)
    node.dispatch.replies["pass"] = [PeerLost("gone")]
    node.passes.give()
    await node.until(6)
    told = [only for only, _ in node.told()]
    assert told.count(PC2.node) == told.count(PC3.node) >= 3


async def test_peers_that_refuse_at_different_times_do_not_make_each_other_be_asked_more_and_more(telling, monkeypatch):
    monkeypatch.setattr("tarsd.api.passes.AGAIN_S", 0.02)
    node = telling(OWN, PC3, PC2)
    node.dispatch.replies["pass"] = [PeerLost("gone")]
    node.freeze(PC3, 0.005)
    began = time.monotonic()
    node.passes.give()
    await node.until(30)
    assert len(node.told()) <= 2 * (2 + (time.monotonic() - began) / 0.02)


async def test_a_frozen_peer_holds_up_nobody_not_even_with_what_is_new_since(telling):
    node = telling(OWN, PC3, PC2)
    node.freeze(PC3)
    first = node.passes.give()
    await node.until(2)
    second = node.passes.give()
    await node.until(3)
    both = sorted([digest_of(first), digest_of(second)])
    assert node.told() == [(PC3.node, [digest_of(first)]), (PC2.node, [digest_of(first)]), (PC2.node, both)]


async def test_who_took_its_time_is_told_what_came_meanwhile(telling):
    node = telling(OWN, PC2)
    go_on = node.freeze(PC2)
    first = node.passes.give()
    await node.until(1)
    second = node.passes.give()
    go_on.set()
    await node.until(2)
    assert node.told()[1] == (PC2.node, sorted([digest_of(first), digest_of(second)]))


async def test_who_did_not_take_them_is_told_at_the_next_news(telling):
    node = telling(OWN, PC2)
    node.dispatch.replies["pass"] = [PeerLost("gone")]
    node.passes.give()
    await node.until(1)
    node.passes.members_changed()
    await node.until(2)


async def test_who_starts_again_while_it_is_told_is_told_again(telling):
    node = telling(OWN, PC2)
    go_on = node.freeze(PC2)
    node.passes.give()
    await node.until(1)
    node.members[-1] = member("pc2", api=PC2.api, capabilities=TAKES, generation=2)
    node.passes.members_changed()
    for _ in range(5):
        await asyncio.sleep(0)
    go_on.set()
    await node.until(2)


async def test_a_pass_opens_its_own_node_too(telling):
    node = telling(OWN, PC2)
    secret = node.passes.give()
    await node.until(1)
    assert node.book.giver_of(secret, time.monotonic()) == OWN.node


class TestTheGuard:
    """What a pass opens where a token is needed."""

    lan = Api(port=0, listen="0.0.0.0")

    async def open_with(self, serve: Any, client: Any, protocols: list[str], giver: Any = PC2, **options: Any) -> Any:
        book = PassBook()
        now = time.monotonic()
        book.admit(giver.node, [digest_of("the-secret")], now + 60, now)
        served = await serve(
            settings=self.lan, access_token="for-people", passes=book, members=lambda: (OWN, giver), **options
        )
        return served, client.ws_connect(served.url + "/ws", protocols=protocols)

    async def test_a_pass_among_the_subprotocols_opens_the_chat(self, serve, client):
        _, opening = await self.open_with(serve, client, ["tarsd", "tarsd.pass.stale", "tarsd.pass.the-secret"])
        async with opening as chat:
            assert (await chat.receive_json())["type"] == "session"
            assert chat.protocol == "tarsd"  # a browser wants one of its own; a pass is never repeated

    @pytest.mark.parametrize(
        "protocols", [[], ["tarsd"], ["tarsd", "tarsd.pass."], ["tarsd", "tarsd.pass.wrong"], ["tarsd", "the-secret"]]
    )
    async def test_anything_else_does_not(self, serve, client, protocols):
        _, opening = await self.open_with(serve, client, protocols)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await opening
        assert caught.value.status == 401

    async def test_a_pass_of_a_node_that_was_revoked_since_does_not(self, serve, client):
        revoked = member("pc2", api=PC2.api, state=State.REVOKED)
        _, opening = await self.open_with(serve, client, ["tarsd", "tarsd.pass.the-secret"], revoked)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await opening
        assert caught.value.status == 401

    async def test_how_many_are_looked_at_is_bounded(self, serve, client):
        many = [f"tarsd.pass.{n}" for n in range(10)]
        _, opening = await self.open_with(serve, client, ["tarsd", *many, "tarsd.pass.the-secret"])
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await opening
        assert caught.value.status == 401

    async def test_a_pass_opens_nothing_but_the_chat(self, serve, client):
        served, opening = await self.open_with(serve, client, ["tarsd", "tarsd.pass.the-secret"])
        async with opening:
            pass
        headers = {"Sec-WebSocket-Protocol": "tarsd, tarsd.pass.the-secret", "Authorization": "Bearer the-secret"}
        for path in ("/api/members", "/v1/models", "/api", "/metrics"):
            async with client.get(served.url + path, headers=headers) as response:
                assert response.status == 401
