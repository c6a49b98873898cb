"""What is noticed of a changing network and when, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tarsd import config
from tarsd.gossip import network_watch
from tarsd.gossip.network_watch import GAP_S, LOOK_ANYWAY_S, LOOK_EVERY_S, SLEPT_LOOK_S, NetworkWatch
from tarsd.names import NodeId

pytestmark = pytest.mark.looptime
NODE = NodeId("a" * 32)
PORT = 7710


class World:
    """A computer whose addresses, links and sleep the test decides; it keeps what the watch tells, and mDNS' starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: tuple[str, ...] = ("192.168.1.20",)
        self.ups = {"eth0": 1}
        self.slept_s = 0.0
        self.may_hear = True
        self.multicast_works = True
        self.told: list[tuple[float, tuple[str, ...]]] = []
        self.slept: list[float] = []
        self.mdns: list[tuple[float, tuple[str, ...]]] = []
        self._wake: Any = None
        self._began = 0.0
        world = self

        class News:
            def __init__(self, changed: Any) -> None:
                world._wake = changed

            def open(self) -> bool:
                return world.may_hear

            def close(self) -> None:
                world._wake = None

        class Mdns:
            def __init__(
                self, _node: str, _cluster: str, port: int, speaking: Any, announced: Any, _found: Any
            ) -> None:
                assert (port, tuple(announced)) == (PORT, world.hosts)
                self.speaking = tuple(speaking)

            async def run(self) -> None:
                world.mdns.append((world.now, self.speaking))
                if world.multicast_works:
                    await asyncio.Event().wait()

        monkeypatch.setattr(network_watch, "LinkNews", News)
        monkeypatch.setattr(network_watch, "Discovery", Mdns)
        monkeypatch.setattr(network_watch, "announced_hosts", lambda listen: self.hosts)
        monkeypatch.setattr(network_watch, "own_addresses", lambda listen, port: tuple((h, port) for h in self.hosts))
        monkeypatch.setattr(network_watch, "multicast_hosts", lambda network: self.hosts)
        monkeypatch.setattr(network_watch, "local_hosts", lambda: frozenset({*self.hosts, "172.17.0.1", "127.0.0.1"}))
        monkeypatch.setattr(network_watch, "times_up", lambda: dict(self.ups))
        monkeypatch.setattr(network_watch, "_slept_s", lambda: self.slept_s)

    @property
    def now(self) -> float:
        return round(asyncio.get_running_loop().time() - self._began, 3)

    def netlink(self) -> None:
        """The kernel says that something changed."""
        self._wake()

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[NetworkWatch, None]:
        watch = NetworkWatch(NODE, "c", config.Network(), lambda *_: None, self._tell)
        self._began = asyncio.get_running_loop().time()
        running = asyncio.create_task(watch.run(PORT))
        await asyncio.sleep(0)
        yield watch
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def _tell(self, addresses: Any, slept_s: float) -> None:
        self.slept.append(slept_s)
        self.told.append((self.now, tuple(host for host, _ in addresses)))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_new_address_is_told_at_once_when_the_kernel_says_so(world):
    async with world.watched():
        await asyncio.sleep(1.1)
        world.hosts = ("192.168.1.99",)
        world.netlink()
        await asyncio.sleep(0.01)
        assert (world.told, world.slept) == ([(1.1, ("192.168.1.99",))], [0.0])


async def test_a_word_of_the_kernel_that_changes_nothing_is_not_told(world):
    async with world.watched():
        world.netlink()
        await asyncio.sleep(LOOK_ANYWAY_S + 1)
    assert world.told == []
    assert len(world.mdns) == 1


async def test_a_cable_that_was_out_and_in_again_is_a_change_though_the_addresses_are_the_same(world):
    async with world.watched():
        world.ups["eth0"] += 1
        world.netlink()
        await asyncio.sleep(0.01)
    assert world.told == [(0.0, world.hosts)]


async def test_what_follows_at_once_is_told_together_and_its_end_is_told(world):
    async with world.watched():
        for number in range(10):
            world.hosts = (f"192.168.1.{number}",)
            world.netlink()
            await asyncio.sleep(GAP_S / 20)
        await asyncio.sleep(10)
    assert world.told == [(0.0, ("192.168.1.0",)), (GAP_S, ("192.168.1.9",))]


@pytest.mark.parametrize(("hears", "within_s"), [(True, LOOK_ANYWAY_S), (False, LOOK_EVERY_S)])
async def test_it_looks_for_itself_from_time_to_time_and_often_where_the_kernel_may_not_speak(world, hears, within_s):
    world.may_hear = hears
    async with world.watched():
        await asyncio.sleep(0.1)
        world.hosts = ("10.0.0.1",)
        await asyncio.sleep(within_s + SLEPT_LOOK_S)
    ((at, hosts),) = world.told
    assert hosts == ("10.0.0.1",)
    assert within_s <= at <= within_s + SLEPT_LOOK_S


async def test_a_computer_that_slept_looks_for_everybody_as_soon_as_it_wakes(world):
    async with world.watched():
        await asyncio.sleep(1.0)
        world.slept_s = 3600.0
        await asyncio.sleep(SLEPT_LOOK_S + 0.01)
        assert [hosts for _, hosts in world.told] == [world.hosts]
        assert len(world.mdns) == 2
        await asyncio.sleep(10)
    assert world.slept == [3600.0]


async def test_mdns_starts_anew_where_the_network_is_another_and_after_it_was_told(world):
    async with world.watched():
        await asyncio.sleep(1.1)
        world.hosts = ("10.0.0.1",)
        world.netlink()
        await asyncio.sleep(0.01)
    assert world.mdns == [(0.0, ("192.168.1.20",)), (1.1, ("10.0.0.1",))]


async def test_mdns_that_failed_is_tried_again_ever_more_rarely(world):
    world.multicast_works = False
    async with world.watched():
        await asyncio.sleep(301)
    assert [at for at, _ in world.mdns] == [0, 2, 6, 14, 30, 62, 122, 182, 242]


async def test_no_mdns_without_an_address_and_at_once_with_one(world):
    world.hosts = ()
    async with world.watched():
        await asyncio.sleep(1.1)
        assert world.mdns == []
        world.hosts = ("192.168.1.20",)
        world.netlink()
        await asyncio.sleep(0.01)
    assert world.mdns == [(1.1, ("192.168.1.20",))]


async def test_addresses_that_lead_to_this_node_are_known_after_each_change(world):
    async with world.watched() as watch:
        assert watch.is_ours(("172.17.0.1", PORT))
        assert watch.is_ours(("192.168.1.20", PORT))
        assert not watch.is_ours(("192.168.1.20", PORT + 1))  # another node on the same computer
        assert not watch.is_ours(("192.168.1.21", PORT))
        world.hosts = ("192.168.1.21",)
        world.netlink()
        await asyncio.sleep(0.01)
        assert watch.is_ours(("192.168.1.21", PORT))
