from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest
import uvloop

from tarsd.errors import ConfigError
from tarsd.gossip.inlet import POLL_S, READS_PER_TURN, Gauge, as_target
from tarsd.gossip.member import Address
from tarsd.gossip.udp import Udp
from tarsd.identity.listen import address_of

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
    assert await asyncio.wait_for(b.heard.get(), 30) == (b"hello", ("127.0.0.1", port_a))
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
        assert await asyncio.wait_for(a.refusals.get(), 30) == gone  # through the loop's poller
        a.udp.send(b"x", gone)
        a.udp.send(b"%d" % number, ("127.0.0.1", port))  # takes the refusal itself, and goes out all the same
        assert await asyncio.wait_for(a.refusals.get(), 30) == gone
        assert (await asyncio.wait_for(a.heard.get(), 30))[0] == b"%d" % number
    a.udp.close()


async def test_both_families_share_one_port() -> None:
    a = Ears()
    port = a.udp.open(["127.0.0.1", "::1"], 0)
    a.udp.send(b"six", ("::1", port))
    a.udp.send(b"four", ("127.0.0.1", port))
    assert {(await asyncio.wait_for(a.heard.get(), 30))[0] for _ in range(2)} == {b"six", b"four"}
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


def datagram(sender: bytes) -> bytes:
    return (b"\x01\x00" + sender).ljust(60, b"\0")


async def test_only_admitted_senders_are_read_and_the_rest_is_counted_as_dropped() -> None:
    a, known = Ears(), b"\x01" * 8
    port = a.udp.open(["127.0.0.1", "::1"], 0)
    a.udp.admit([known])
    for host in ("127.0.0.1", "::1"):
        for data in (b"", b"garbage", datagram(b"\x02" * 8), datagram(known)):
            a.udp.send(data, (host, port))
    heard = [(await asyncio.wait_for(a.heard.get(), 30))[0] for _ in range(2)]
    assert heard == [datagram(known)] * 2
    assert a.heard.empty()
    assert a.udp.dropped == 6
    a.udp.close()


async def test_a_burst_is_taken_whole_in_turns_that_leave_time_for_others() -> None:
    a, other = Ears(), Ears()
    port = a.udp.open(["127.0.0.1"], 0)
    other.udp.open(["127.0.0.1"], 0)
    count, turns, longest = 3 * READS_PER_TURN + 7, 0, 0
    for number in range(count):
        other.udp.send(b"%d" % number, ("127.0.0.1", port))
    async with asyncio.timeout(30):
        while sum(batches(a)) < count:
            before = a.heard.qsize()
            await asyncio.sleep(0)
            longest, turns = max(longest, a.heard.qsize() - before), turns + 1
    assert [a.heard.get_nowait()[0] for _ in range(count)] == [b"%d" % number for number in range(count)]
    assert longest <= READS_PER_TURN
    a.udp.close()
    other.udp.close()


def batches(ears: Ears) -> list[int]:
    return [ears.heard.qsize()]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_flood_is_polled_and_afterwards_each_datagram_wakes_again(loop: LoopFactory) -> None:
    with contextlib.closing(loop()) as own:
        own.run_until_complete(flooded())


async def flooded() -> None:
    a, b = Ears(), Ears()
    port, gone = a.udp.open(["127.0.0.1"], 0), nobody()
    b.udp.open(["127.0.0.1"], 0)
    inlet = a.udp._inlets[0]
    async with asyncio.timeout(30):
        while inlet._poll_timer is None:
            for _ in range(50):
                b.udp.send(b"flood", ("127.0.0.1", port))
            await asyncio.sleep(0.001)
        a.udp.send(b"x", gone)  # a refusal while it is polled
        assert await a.refusals.get() == gone
        if inlet._poll_timer is not None:
            assert not asyncio.get_running_loop().remove_reader(inlet.bound), "it must not be woken as well"
        while inlet._poll_timer is not None:  # noqa: ASYNC110 - a timer, without an event
            await asyncio.sleep(0.01)
        while not a.heard.empty():
            a.heard.get_nowait()
        for _ in range(3):
            b.udp.send(b"calm", ("127.0.0.1", port))
            assert (await a.heard.get())[0] == b"calm"
            a.udp.send(b"x", gone)
            assert await a.refusals.get() == gone
    assert inlet._poll_timer is None
    a.udp.close()
    b.udp.close()


async def test_closing_in_the_middle_of_a_flood_ends_the_reading() -> None:
    seen: list[bytes] = []

    def received(data: bytes, source: Address) -> None:
        seen.append(data)
        if len(seen) == 150:
            udp.close()

    udp, b = Udp(received, lambda address: None), Ears()
    port = udp.open(["127.0.0.1"], 0)
    b.udp.open(["127.0.0.1"], 0)
    for _ in range(300):
        b.udp.send(b"x", ("127.0.0.1", port))
    async with asyncio.timeout(30):
        while len(seen) < 150:  # noqa: ASYNC110 - a list, without an event
            await asyncio.sleep(0.001)
    await asyncio.sleep(2 * POLL_S)
    assert len(seen) == 150
    b.udp.close()


@pytest.mark.parametrize(
    ("counts", "rates"),
    [([(0.0, 1), (3600.0, 1)], [10, 10]), ([(0.05, 200)], [2000]), ([(0.1, 50), (0.2, 0), (0.3, 0)], [500, 0, 0])],
)
def test_a_rate_is_known_as_soon_as_it_is_exceeded(counts: list[tuple[float, int]], rates: list[float]) -> None:
    gauge = Gauge()
    assert [pytest.approx(gauge.rate(count, now), abs=11) for now, count in counts] == rates


def test_a_link_local_address_keeps_its_interface() -> None:
    assert address_of(("fe80::1", 7710, 0, 1)) == ("fe80::1%lo", 7710)
    assert address_of(("fe80::1", 7710, 0, 0)) == ("fe80::1", 7710)
    assert address_of(("10.0.0.1", 7710)) == ("10.0.0.1", 7710)
    assert as_target(("fe80::1%lo", 7710)) == ("fe80::1", 7710, 0, 1)
    assert as_target(("10.0.0.1", 7710)) == ("10.0.0.1", 7710)
    with pytest.raises(OSError):
        as_target(("fe80::1%no-such", 7710))
