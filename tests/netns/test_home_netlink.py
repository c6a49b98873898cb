"""The kernel's own word of a changing network, heard in a network namespace."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from pathlib import Path

import pytest
from home_lan import HomeLan

from bench.lan import inside, why_not
from tarsd.gossip import netlink
from tarsd.gossip.netlink import LinkNews

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]


@pytest.fixture
def lan() -> Generator[HomeLan, None, None]:
    if reason := why_not():
        pytest.skip(reason)
    with HomeLan(1) as made:
        yield made


def listening(lan: HomeLan, changed: asyncio.Event) -> LinkNews:
    news = LinkNews(changed.set)
    with inside(lan.namespace(1)):
        assert news.open()
    return news


async def told(changed: asyncio.Event) -> None:
    async with asyncio.timeout(30):
        await changed.wait()
    await asyncio.sleep(0.1)  # what belongs to the same change
    changed.clear()


async def test_addresses_and_cables_are_told_and_routes_are_not(lan: HomeLan) -> None:
    changed = asyncio.Event()
    news = listening(lan, changed)
    for change in (
        ("addr", "add", "10.9.9.9/24", "dev", "eth0"),
        ("addr", "del", "10.9.9.9/24", "dev", "eth0"),
        ("addr", "add", "fd99::1/64", "dev", "eth0", "nodad"),
    ):
        lan.ip(1, *change)
        await told(changed)
    lan.pull(1, 0)
    await told(changed)
    lan.put(1, 0)
    await told(changed)
    lan.ip(1, "route", "add", "10.5.0.0/16", "via", "10.77.0.1")
    await asyncio.sleep(0.1)
    assert not changed.is_set()
    news.close()


async def test_messages_that_the_kernel_dropped_count_as_a_change(
    lan: HomeLan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make, made = netlink._listening, []

    def small() -> socket.socket:
        made.append(make())
        made[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        return made[0]

    monkeypatch.setattr(netlink, "_listening", small)
    monkeypatch.setattr(netlink, "speaks_of_change", lambda data: False)  # only the loss can tell
    changed = asyncio.Event()
    news = listening(lan, changed)
    batch = tmp_path / "batch"
    batch.write_text("".join(f"addr add 10.8.{n // 250}.{n % 250 + 1}/32 dev eth0\n" for n in range(100)))
    lan.ip(1, "-batch", str(batch))  # the loop does not read meanwhile
    await told(changed)
    assert made[0].fileno() >= 0, "it listens on"
    news.close()
