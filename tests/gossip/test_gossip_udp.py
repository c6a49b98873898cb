from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest
import uvloop

from tarsd.errors import ConfigError
from tarsd.gossip.member import Address
from tarsd.gossip.udp import Udp

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Ears:
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
        self.refusals: asyncio.Queue[Address] = asyncio.Queue()
        self.udp = Udp(lambda data, source: self.heard.put_nowait((data, source)), self.refusals.put_nowait)


def nobody() -> Address:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()


async def test_a_datagram_arrives_with_its_source() -> None:
    a, b = Ears(), Ears()
    port_a, port_b = a.udp.open(["127.0.0.1"], 0), b.udp.open(["127.0.0.1"], 0)
    a.udp.send(b"hello", ("127.0.0.1", port_b))
    assert await asyncio.wait_for(b.heard.get(), 1) == (b"hello", ("127.0.0.1", port_a))
    a.udp.close()
    b.udp.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_kernel_says_where_nobody_listens_and_the_socket_lives_on(loop: LoopFactory) -> None:
    # Not asyncio.Runner: it would unset, unclosed, the loop that the test framework keeps for the thread.
    with contextlib.closing(loop()) as own:
        own.run_until_complete(refused_three_times())


async def refused_three_times() -> None:
    a, gone = Ears(), nobody()
    port = a.udp.open(["127.0.0.1"], 0)
    for number in range(3):
        a.udp.send(b"x", gone)
        assert await asyncio.wait_for(a.refusals.get(), 1) == gone  # through the loop's poller
        a.udp.send(b"x", gone)
        a.udp.send(b"%d" % number, ("127.0.0.1", port))  # takes the refusal itself, and goes out all the same
        assert await asyncio.wait_for(a.refusals.get(), 1) == gone
        assert (await asyncio.wait_for(a.heard.get(), 1))[0] == b"%d" % number
    a.udp.close()


async def test_both_families_share_one_port() -> None:
    a = Ears()
    port = a.udp.open(["127.0.0.1", "::1"], 0)
    a.udp.send(b"six", ("::1", port))
    a.udp.send(b"four", ("127.0.0.1", port))
    assert {(await asyncio.wait_for(a.heard.get(), 1))[0] for _ in range(2)} == {b"six", b"four"}
    a.udp.close()


async def test_an_address_that_does_not_exist_here_is_passed_over() -> None:
    a = Ears()
    assert a.udp.open(["192.0.2.1", "127.0.0.1"], 0) > 0
    a.udp.close()
    with pytest.raises(ConfigError, match=r"network\.listen"):
        Ears().udp.open(["192.0.2.1"], 0)


async def test_what_cannot_be_sent_is_lost_in_silence() -> None:
    a = Ears()
    a.udp.open(["127.0.0.1"], 0)
    a.udp.send(b"x", ("::1", 9))  # no socket of that family
    a.udp.send(bytes(100_000), ("127.0.0.1", 9))  # too large for UDP
    a.udp.close()
