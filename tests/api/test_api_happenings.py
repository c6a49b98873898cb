"""The stream of what happens among the members: its rules under virtual time, and over HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from tarsd.api import happenings
from tarsd.api.happenings import BEAT_S, GAP_S, KEPT, Happenings
from tarsd.errors import Overloaded
from tarsd.gossip.member import Member, State
from tests.api import scripted_services as scripted


class Cluster:
    """Members that a test changes, and what subscribed to them."""

    def __init__(self) -> None:
        self.members = {
            member.name: member for member in (scripted.member("pc1", is_self=True), scripted.member("pc2"))
        }
        self.callbacks: list[Any] = []

    def __call__(self) -> tuple[Member, ...]:
        return tuple(self.members.values())

    def subscribe(self, callback: Any) -> Any:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def change(self, name: str, **changes: Any) -> None:
        self.members[name] = scripted.member(name, **changes)
        for callback in self.callbacks:
            callback(self.members[name])


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def told(cluster: Cluster) -> Happenings:
    made = Happenings(cluster)
    cluster.subscribe(made.note)
    return made


async def lines_at(told: Happenings, count: int) -> list[float]:
    """Return when the next lines came, from now."""
    clock, began = asyncio.get_running_loop().time, asyncio.get_running_loop().time()
    async with aclosing(told.watch()) as stream:
        return [clock() - began async for _ in _first(stream, count)]


async def _first(stream: Any, count: int) -> Any:
    for _ in range(count):
        yield await anext(stream)


@pytest.mark.looptime
async def test_a_line_comes_each_beat_though_nothing_changes(told):
    assert await lines_at(told, 3) == pytest.approx([0.0, BEAT_S, 2 * BEAT_S])


@pytest.mark.looptime
async def test_a_change_is_told_long_before_the_next_beat(told, cluster):
    asyncio.get_running_loop().call_later(0.5, cluster.change, "pc2")
    assert await lines_at(told, 2) == pytest.approx([0.0, 0.5])


@pytest.mark.looptime
async def test_a_storm_of_changes_is_told_at_most_once_a_gap(told, cluster):
    for number in range(100):
        asyncio.get_running_loop().call_later(0.01 * number, cluster.change, "pc2")
    assert await lines_at(told, 6) == pytest.approx([GAP_S * number for number in range(6)])


async def test_a_new_state_or_reason_is_a_happening_and_a_new_load_is_none(told, cluster):
    cluster.change("pc2", reason="greeted")
    cluster.change("pc2", reason="greeted", rtt_ms=9.0)
    cluster.change("pc2", state=State.SUSPECT, reason="no answer to pings")
    cluster.change("pc2", state=State.SUSPECT, reason="a call to it failed")
    cluster.change("pc1", is_self=True, reason="this node")
    passed = [(one.number, one.name, one.was, one.state, one.reason) for one in told.kept()]
    assert passed == [
        (1, "pc2", "", "alive", "greeted"),
        (2, "pc2", "alive", "suspect", "no answer to pings"),
        (3, "pc2", "suspect", "suspect", "a call to it failed"),
    ]


async def test_what_only_time_brings_about_is_a_happening_too(told, cluster):
    cluster.change("pc2", reason="greeted")
    cluster.members["pc2"] = scripted.member("pc2", reason="it does not hear us", one_way=True)  # nobody is called
    async with aclosing(told.watch()) as stream:
        _, kept = await anext(stream)
    assert kept[-1].reason == "it does not hear us"


async def test_only_the_last_happenings_are_kept(told, cluster):
    for number in range(KEPT + 5):
        cluster.change("pc2", reason=str(number))
    assert [told.kept()[0].number, told.kept()[-1].number, len(told.kept())] == [6, KEPT + 5, KEPT]


async def test_watchers_are_bounded_and_those_who_left_do_not_count(told, monkeypatch):
    monkeypatch.setattr(happenings, "MAX_WATCHERS", 1)
    for _ in range(2):
        async with aclosing(told.watch()) as stream:
            await anext(stream)
            with pytest.raises(Overloaded, match="watching already"):
                await anext(told.watch())


@pytest.mark.looptime
async def test_closing_ends_the_streams(told):
    asyncio.get_running_loop().call_later(1.5, told.close)
    async with aclosing(told.watch()) as stream:
        assert len([line async for line in stream]) == 2


async def test_the_stream_over_http_tells_members_and_happenings_and_ends_with_the_node(serve, cluster):
    served = await serve(members=cluster, subscribe=cluster.subscribe)
    async with (
        aiohttp.ClientSession() as client,
        client.get(served.url + "/api/members", params={"watch": "1"}) as response,
    ):
        assert response.headers["Content-Type"].startswith("application/x-ndjson")
        first = json.loads(await response.content.readline())
        assert (first["node"], [member["name"] for member in first["members"]]) == ("pc1", ["pc1", "pc2"])
        cluster.change("pc2", state=State.DEAD, reason="silent: no answer to pings")
        while (line := json.loads(await response.content.readline()))["members"][1]["state"] != "dead":
            pass
        last = line["happenings"][-1]
        assert (last["name"], last["was"], last["state"]) == ("pc2", "alive", "dead")
        stopping = asyncio.create_task(served.server.stop(drain_s=600.0))
        async with asyncio.timeout(60):  # a watcher does not hold up the stop
            rest = await response.content.read()
            await stopping
    assert cluster.callbacks == []
    assert all(json.loads(line)["node"] == "pc1" for line in rest.splitlines())
