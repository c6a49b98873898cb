"""The faults of links do what they say, to frames between two namespaces, and are gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Callable, Generator

import pytest

from bench.faults.relay import Impairment, detour
from bench.faults.script import Fault, Kind, rules
from bench.lan import Lan, inside, why_not

pytestmark = [pytest.mark.netns]

PORT = 9999
MANY = 400
SETTLED_S = 1.0


@pytest.fixture(scope="module")
def lan() -> Generator[Lan, None, None]:
    if reason := why_not():
        pytest.skip(reason)
    with Lan(2) as made:
        for one, other in ((1, 2), (2, 1)):  # addresses are found out, and the bridge learns the ports
            with bound(made, one) as listener, bound(made, other, 0) as sender:
                sender.sendto(b"hello", (f"10.77.0.{one}", PORT))
                listener.settimeout(30)
                assert listener.recv(10) == b"hello"
        for one, other in ((1, 2), (2, 1)):  # and are not forgotten: who is asked for one again may not hear it
            known = ["neigh", "change", f"10.77.0.{other}", "dev", "eth0", "nud", "permanent"]
            subprocess.run(["ip", "-n", made.namespace(one), *known], check=True)
        yield made


def bound(lan: Lan, number: int, port: int = PORT) -> socket.socket:
    with inside(lan.namespace(number)):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind(("0.0.0.0", port))
    made.setblocking(False)
    return made


async def heard(
    lan: Lan, sender: int, count: int = MANY, settled: Callable[[list[int]], bool] | None = None
) -> list[int]:
    """Send numbers from one PC to the other and return those that arrive, in their order."""
    listener, found = 3 - sender, []
    loop = asyncio.get_running_loop()
    with bound(lan, listener) as ear, bound(lan, sender, 0) as mouth:
        for number in range(count):
            await loop.sock_sendto(mouth, number.to_bytes(2), (f"10.77.0.{listener}", PORT))
            if number % 20 == 0:
                await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            while not (settled and settled(found)):
                async with asyncio.timeout(SETTLED_S):
                    found.append(int.from_bytes(await loop.sock_recv(ear, 10)))
    return found


def all_of_them(found: list[int]) -> bool:
    return len(set(found)) == MANY


@pytest.mark.parametrize(
    ("kind", "target", "arrives"),
    [
        ("deaf", 1, (True, False)),
        ("mute", 1, (False, True)),
        ("silence", 1, (False, False)),
        ("split", 1, (False, False)),
    ],
)
async def test_what_is_dropped_is_dropped_one_way_or_both(lan, kind: Kind, target, arrives):
    lan.drop("test", rules(Fault(0, kind, "pc1", 1), [f"port{target}"]))
    try:
        for sender, wanted in zip((1, 2), arrives, strict=True):
            found = await heard(lan, sender, settled=all_of_them)
            assert len(found) == (MANY if wanted else 0)
    finally:
        lan.drop("test", ())
    assert all_of_them(await heard(lan, 1, settled=all_of_them))


@pytest.mark.parametrize("target", ["", "pc2"])
async def test_a_quarter_is_lost_each_way(lan, target):
    lan.drop("test", rules(Fault(0, "loss", target, 1, 25), ["port2"]))
    try:
        for sender in (1, 2):
            found = await heard(lan, sender)
            assert MANY * 0.6 < len(found) < MANY * 0.9
            assert found == sorted(found)
    finally:
        lan.drop("test", ())


async def test_a_detour_delays(lan):
    loop = asyncio.get_running_loop()
    async with detour(lan, 2, Impairment(delay_s=0.2)):
        for sender in (1, 2):
            began = loop.time()
            assert (await heard(lan, sender, settled=all_of_them))[:3] == [0, 1, 2]
            assert loop.time() - began >= 0.2
    assert all_of_them(await heard(lan, 1, settled=all_of_them))


async def test_a_detour_doubles_and_reorders(lan):
    def settled(found: list[int]) -> bool:
        return all_of_them(found) and len(found) > MANY * 1.1

    async with detour(lan, 2, Impairment(reordered=0.2, doubled=0.2)):
        found = await heard(lan, 1, settled=settled)
    assert settled(found)
    assert found != sorted(found)


async def test_a_detour_passes_tcp_with_its_large_frames_whole(lan):
    data = bytes(range(256)) * 4096  # 1 MiB
    with inside(lan.namespace(1)):
        listener = socket.create_server(("10.77.0.1", PORT))
    with inside(lan.namespace(2)):
        caller = socket.socket()
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read(-1))
        writer.close()

    async with detour(lan, 2, Impairment(delay_s=0.005)), await asyncio.start_server(take, sock=listener):
        caller.setblocking(False)
        await asyncio.get_running_loop().sock_connect(caller, ("10.77.0.1", PORT))
        reader, writer = await asyncio.open_connection(sock=caller)
        writer.write(data)
        writer.write_eof()
        assert await asyncio.wait_for(received, 30) == data
        writer.close()
        await reader.read()


async def test_a_link_that_went_down_is_up_again(lan):
    def link() -> str:
        return subprocess.check_output(["ip", "-n", lan.namespace(1), "link", "show", "eth0"], text=True)

    lan.unplug(1)
    try:
        assert "NO-CARRIER" in link()
        assert await heard(lan, 2, 1) == []
    finally:
        lan.plug(1)
    assert await heard(lan, 2, 1, settled=bool) == [0]
