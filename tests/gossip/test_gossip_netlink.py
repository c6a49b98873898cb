from __future__ import annotations

import asyncio
import errno
import socket
import struct

import pytest

from tarsd.gossip import netlink
from tarsd.gossip.netlink import LinkNews, speaks_of_change


def message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


@pytest.mark.parametrize("kind", [16, 17, 20, 21])
def test_links_and_addresses_are_news(kind):
    assert speaks_of_change(message(kind, b"abc"))
    assert speaks_of_change(message(24, b"12345") + message(kind))


@pytest.mark.parametrize("kind", [2, 3, 24, 28])
def test_routes_neighbours_and_errors_are_not(kind):
    assert not speaks_of_change(message(kind, b"abcde") + message(kind))


def test_what_is_cut_off_says_nothing_and_what_is_malformed_is_taken_for_news():
    assert not speaks_of_change(message(16)[:15])
    assert speaks_of_change(struct.pack("=IHHII", 0, 99, 0, 0, 0))  # a length that leads nowhere must not loop


class Kernel:
    """A pair of sockets: what the kernel's side sends is heard; `fail` makes the next read fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, self.side = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self.error = 0
        kernel = self

        class Heard:
            def fileno(self) -> int:
                return ours.fileno()

            def recv(self, size: int) -> bytes:
                data = ours.recv(size)
                if kernel.error:
                    number, kernel.error = kernel.error, 0
                    raise OSError(number, "it failed")
                return data

            def close(self) -> None:
                ours.close()

        monkeypatch.setattr(netlink, "_listening", Heard)


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel(monkeypatch)
    yield made
    made.side.close()


async def test_a_storm_is_told_once_a_turn_and_silence_is_not_told(kernel):
    told = asyncio.Event()
    count = 0

    def changed() -> None:
        nonlocal count
        count += 1
        told.set()

    news = LinkNews(changed)
    assert news.open()
    for _ in range(8):
        kernel.side.send(message(16))
    await asyncio.wait_for(told.wait(), 30)
    assert count == 1
    told.clear()
    kernel.side.send(message(24))
    kernel.side.send(message(20))
    await asyncio.wait_for(told.wait(), 30)
    assert count == 2
    news.close()
    news.close()


@pytest.mark.parametrize(("number", "goes_on"), [(errno.ENOBUFS, True), (errno.EIO, False)])
async def test_messages_that_were_lost_count_as_a_change_and_a_broken_socket_is_given_up(kernel, number, goes_on):
    told = asyncio.Event()
    news = LinkNews(told.set)
    assert news.open()
    kernel.error = number
    kernel.side.send(message(24))
    await asyncio.wait_for(told.wait(), 30)
    assert (news._socket is not None) is goes_on
    news.close()


async def test_where_netlink_is_refused_that_is_said(monkeypatch):
    def refuse() -> socket.socket:
        raise PermissionError(errno.EPERM, "refused")

    monkeypatch.setattr(netlink, "_listening", refuse)
    news = LinkNews(lambda: None)
    assert not news.open()
    news.close()


async def test_the_kernel_here_lets_us_listen():
    news = LinkNews(lambda: None)
    assert news.open()
    news.close()
