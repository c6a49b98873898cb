"""What is made of the announcements on a LAN; that they arrive is tested with real multicast in `netns` and `shell`."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceInfo

from tarsd.gossip import discovery
from tarsd.gossip.discovery import SERVICE, Discovery
from tarsd.gossip.member import Address
from tarsd.names import NodeId

OURS, THEIRS = NodeId("a" * 32), NodeId("b" * 32)
INTERFACE = socket.if_nameindex()[0]


class Announcement:
    """As much of a resolved announcement as is looked at."""

    def __init__(self, *hosts: str, port: int = 7710, **properties: str) -> None:
        self.hosts, self.port = list(hosts), port
        self.decoded_properties = {"id": THEIRS, "cluster": "home", "v": "1"} | properties

    def parsed_scoped_addresses(self) -> list[str]:
        return self.hosts


@pytest.fixture
def found() -> list[tuple[NodeId, tuple[Address, ...]]]:
    return []


@pytest.fixture
def listening(found: list[Any]) -> Discovery:
    return Discovery(OURS, "home", 7710, ["127.0.0.1"], ["10.0.0.1", "fd00::1"], lambda *hint: found.append(hint))


def test_ipv4_and_ipv6_addresses_are_hints_alike(listening, found):
    listening._report(Announcement("10.0.0.2", "fd00::2"))
    assert found == [(THEIRS, (("10.0.0.2", 7710), ("fd00::2", 7710)))]


def test_a_link_local_address_counts_with_the_interface_where_it_was_heard(listening, found):
    number, name = INTERFACE
    listening._report(Announcement("fe80::2", f"fe80::3%{number}", "fe80::4%60000"))
    assert found == [(THEIRS, ((f"fe80::3%{name}", 7710),))]


@pytest.mark.parametrize(
    "announcement",
    [
        Announcement("10.0.0.2", cluster="next door"),
        Announcement("10.0.0.2", id=OURS),
        Announcement("10.0.0.2", id="../../etc"),
        Announcement("10.0.0.2", id="B" * 32),
        Announcement("10.0.0.2", port=0),
        Announcement(),
        Announcement("fe80::2"),
    ],
)
def test_what_is_not_a_node_of_this_cluster_or_cannot_be_reached_is_passed_over(listening, found, announcement):
    listening._report(announcement)
    assert found == []


def test_all_own_addresses_are_announced(listening):
    assert {str(address) for address in listening._info.parsed_addresses()} == {"10.0.0.1", "fd00::1"}


@pytest.mark.parametrize(
    ("interfaces", "version"),
    [(["10.0.0.1"], "V4Only"), (["fe80::1%eth0"], "V6Only"), (["10.0.0.1", "fe80::1%eth0"], "All")],
)
def test_multicast_is_spoken_in_the_families_that_there_are(interfaces, version):
    assert discovery._version(interfaces).name == version


async def test_a_name_is_asked_about_once_at_a_time_and_a_goodbye_never(listening, monkeypatch):
    asked: list[str] = []
    answer = asyncio.Event()

    async def request(self: AsyncServiceInfo, _zeroconf: object, _within_ms: float) -> bool:
        asked.append(self.name)
        await answer.wait()
        return False

    monkeypatch.setattr(discovery.AsyncServiceInfo, "async_request", request)
    theirs = f"{THEIRS}.{SERVICE}"
    async with asyncio.TaskGroup() as listening._tasks:
        for change in (ServiceStateChange.Removed, ServiceStateChange.Added, ServiceStateChange.Updated):
            listening._seen(None, SERVICE, theirs, change)
        listening._seen(None, SERVICE, f"{OURS}.{SERVICE}", ServiceStateChange.Added)
        await asyncio.sleep(0)
        assert asked == [theirs]
        answer.set()
    listening._tasks = None


async def test_a_lan_that_announces_thousands_of_names_does_not_get_thousands_of_questions(listening, monkeypatch):
    async def request(*_: object) -> bool:
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(discovery.AsyncServiceInfo, "async_request", request)
    async with asyncio.TaskGroup() as listening._tasks:
        for number in range(1000):
            listening._seen(None, SERVICE, f"{number:032x}.{SERVICE}", ServiceStateChange.Added)
        assert len(listening._asking) == discovery._ASKING_MAX


@pytest.mark.parametrize("error", [OSError(19, "No such device"), RuntimeError("No adapter found for fe80::1")])
async def test_interfaces_that_are_gone_end_it_quietly(listening, found, monkeypatch, error):
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(discovery, "AsyncZeroconf", refuse)
    async with asyncio.timeout(30):
        await listening.run()
    assert found == []
