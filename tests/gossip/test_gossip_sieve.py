"""The kernel's filter, on real sockets of both families, and as a program that is run step by step."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.gossip import sieve
from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.seal import MIN_DATAGRAM_BYTES

A, B = bytes.fromhex("0102030405060708"), bytes.fromhex("a1a2a3a4a5a6a7a8")


def datagram(sender: bytes, size: int = MIN_DATAGRAM_BYTES, version: int = 1) -> bytes:
    return (bytes([version, 0]) + sender).ljust(size, b"\0")


@contextmanager
def sockets(host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as here, socket.socket(family, socket.SOCK_DGRAM) as there:
        here.bind((host, 0))
        here.setblocking(False)
        there.connect(here.getsockname())
        yield here, there


def received(here: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(here.recv(4096))
        except BlockingIOError:
            return found


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_only_what_may_be_opened_gets_through_the_kernel(host: str) -> None:
    good = [datagram(A), datagram(B), datagram(A, MAX_DATAGRAM_BYTES)]
    bad = [
        b"",
        b"\x01",
        datagram(A, MIN_DATAGRAM_BYTES - 1),
        datagram(A, MAX_DATAGRAM_BYTES + 1),
        datagram(A, 9000),
        datagram(A, version=2),
        datagram(b"\xff" * 8),
        os.urandom(33),
    ]
    with sockets(host) as (here, there):
        assert sieve.attach(here, [A, B])
        for data in [*bad, *good, *bad]:
            there.send(data)
        assert received(here) == good
        assert sieve.dropped(here) == 2 * len(bad)


def test_a_filter_replaces_the_one_before() -> None:
    with sockets("127.0.0.1") as (here, there):
        for senders, arrived in (([], []), ([B], [datagram(B)]), ([A, B], [datagram(A), datagram(B)])):
            sieve.attach(here, senders)
            there.send(datagram(A))
            there.send(datagram(B))
            assert received(here) == arrived


@pytest.mark.parametrize("count", [sieve.MAX_SENDERS, sieve.MAX_SENDERS + 1])
def test_the_kernel_takes_a_filter_for_many_senders(count: int) -> None:
    senders = [number.to_bytes(4, "big") + bytes(4) for number in range(1, count + 1)]
    with sockets("127.0.0.1") as (here, there):
        assert sieve.attach(here, senders)
        there.send(datagram(senders[-1]))
        there.send(datagram(b"\xff" * 8))
        assert len(received(here)) == (1 if count <= sieve.MAX_SENDERS else 2), "too many: told apart by us alone"


def test_where_the_kernel_does_not_want_to_everything_is_read() -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    assert sieve.attach(closed, [A]) is False
    assert sieve.dropped(closed) == 0


class Full:
    """A socket of a kernel that has room for one filter only, so that none can be exchanged; or for none."""

    def __init__(self, room: int) -> None:
        self.room, self.attached = room, 0

    def setsockopt(self, level: int, option: int, value: object) -> None:
        assert level == socket.SOL_SOCKET
        if option == sieve.SO_DETACH_FILTER:
            if not self.attached:
                raise FileNotFoundError(2, "none")
            self.attached = 0
        elif self.attached >= self.room:
            raise OSError(12, "no room")
        else:
            self.attached += 1


def test_a_filter_that_cannot_be_exchanged_is_detached_first() -> None:
    one = Full(room=1)
    assert sieve.attach(one, [A])
    assert sieve.attach(one, [A, B])
    assert one.attached == 1


def test_a_filter_that_cannot_be_had_shuts_nobody_out() -> None:
    one = Full(room=1)
    assert sieve.attach(one, [A])
    one.room = 0
    assert sieve.attach(one, [A, B]) is False
    assert one.attached == 0
    assert sieve.attach(one, [A]) is False


OPTMEM = Path("/proc/sys/net/core/optmem_max")
IN_A_SMALL_KERNEL = """
import pathlib, sys
pathlib.Path("/proc/sys/net/core/optmem_max").write_text("20480")
import socket
from tarsd.gossip import sieve
from tarsd.gossip.seal import MIN_DATAGRAM_BYTES
here, there = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
here.bind(("127.0.0.1", 0))
here.settimeout(2.0)
ids = [number.to_bytes(4, "big") + bytes(4) for number in range(1, 1001)]
refused = [count for count in range(100, 1001, 100) if not sieve.attach(here, ids[:count])]
there.sendto((bytes([1, 0]) + ids[-1]).ljust(MIN_DATAGRAM_BYTES, bytes(1)), here.getsockname())
here.recv(4096)
print(len(refused))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not OPTMEM.exists(), reason="needs a network namespace")
def test_a_kernel_with_little_room_lets_new_senders_through() -> None:
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, IN_A_SMALL_KERNEL],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "optmem_max" in done.stderr or "unshare" in done.stderr:
        pytest.skip("this kernel has one bound for all namespaces")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def run(steps: list[sieve.Instruction], packet: bytes) -> bool:
    """What the kernel does, for the few instructions that there are."""
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        match code:
            case sieve._LENGTH:
                accumulator = len(packet)
            case sieve._BYTE | sieve._WORD:
                size = 1 if code == sieve._BYTE else 4
                if operand + size > len(packet):
                    return False
                accumulator = int.from_bytes(packet[operand : operand + size], "big")
            case sieve._EQUAL:
                at += if_true if accumulator == operand else if_false
            case sieve._GREATER:
                at += if_true if accumulator > operand else if_false
            case sieve._AT_LEAST:
                at += if_true if accumulator >= operand else if_false
            case sieve._RETURN:
                return operand != 0


@given(st.sets(st.binary(min_size=8, max_size=8), max_size=5), st.binary(max_size=1300), st.data())
def test_the_program_says_what_the_rule_says(senders: set[bytes], data: bytes, draw: st.DataObject) -> None:
    if senders and draw.draw(st.booleans()):
        data = b"\x01\x00" + draw.draw(st.sampled_from(sorted(senders))) + data
    is_ours = MIN_DATAGRAM_BYTES <= len(data) <= MAX_DATAGRAM_BYTES and data[0] == 1
    known = any(data[2:6] == sender[:4] for sender in senders)
    assert run(sieve.program(senders), bytes(8) + data) is (is_ours and known)
