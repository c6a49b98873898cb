"""A daemon under 20,000 garbage datagrams a second: its CPU, what the others think of it, what it sends back.

Three real daemons on loopback. pc1 is flooded by a child process, by four kinds of garbage: random bytes; a right
header naming pc2 with a wrong tag; the same from pc2's own address (raw socket); real datagrams of pc2, captured and
replayed (packet socket). The last two need root and are left out without. The reference is a bare uvloop receiver that
only counts, flooded alike right before or after. About 1.5 minutes with --quick, else 3.

`python -m bench.network_flood sink` is that receiver; `… flood KIND HOST PORT …` is the flooder.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from bench.cluster import Cluster, Plan, cluster
from bench.daemon import LOOPBACK, DaemonError, environment_of_a_child
from bench.harness import Context, Row

RATE = 20_000
CPU_AIM = 30.0  # percent of one core
SLICE_S = 1.0
BURST_S = 0.001
PREFIX_BYTES = 8
CAPTURE_S = 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KINDS = {
    "random": "random bytes",
    "forged": "a peer's name, a wrong tag",
    "spoofed": "the same from the peer's own address",
    "replayed": "real datagrams, replayed",
}
NEED_ROOT = ("spoofed", "replayed")


class Flood(msgspec.Struct, kw_only=True):
    """What a flooder is to do."""

    kind: str
    port: int
    peer: str = ""  # the node id that forged headers name
    peer_port: int = 0
    real_port: int = 0  # where the peer's real datagrams go
    seconds: float = 10.0


class Told(msgspec.Struct):
    """What a flooder says at its end."""

    sent: int
    seconds: float
    bytes_back: int


async def rows(context: Context) -> list[Row]:
    """Return CPU, false suspicions and bytes sent back for each kind of garbage."""
    result: list[Row] = []
    seconds = float(context.pick(10, 20))
    async with cluster([Plan("pc1"), Plan("pc2"), Plan("pc3")], context.folder / "flood") as nodes:
        pid = nodes["pc1"].pid
        idle = await _cpu_percent(pid, 5.0)
        peer = (await nodes.clients["pc1"].members())["pc2"]["node"]
        for kind, name in KINDS.items():
            if kind in NEED_ROOT and os.geteuid() != 0:
                continue
            flood = Flood(
                kind=kind,
                port=nodes["pc1"].port,
                peer=peer,
                peer_port=nodes["pc2"].port,
                real_port=nodes["pc1"].port,
                seconds=seconds,
            )
            async with context.watched(result):
                result += await _flooded(nodes, pid, flood, name, sum(idle) / len(idle))
    return result


async def _flooded(nodes: Cluster, pid: int, flood: Flood, name: str, idle: float) -> list[Row]:
    async with _sink() as (sink_pid, port):
        reference, _ = await _measure(sink_pid, msgspec.structs.replace(flood, port=port, seconds=flood.seconds / 2))
    began = time.monotonic()
    cpu, told = await _measure(pid, flood)
    flaps = await _unsteady(nodes, time.monotonic() - began)
    per_s = told.sent / told.seconds
    reached = per_s > 0.95 * RATE  # on a busy machine the flooder does not get there, and the aim says nothing
    result = [
        Row(
            figure=f"CPU under garbage: {name}",
            unit="% of a core",
            samples=cpu,
            aim=CPU_AIM if reached else None,
            reference=reference,
            reference_name="bare uvloop receiver",
            note=f"{'' if reached else 'only '}{per_s:,.0f}/s sent; {idle:.1f} % when idle",
        ),
        Row(figure=f"members suspected or dead meanwhile: {name}", unit="", samples=[float(flaps)], aim=0.0),
    ]
    if flood.kind != "spoofed":  # an answer would go to the peer
        back = float(told.bytes_back)
        result.append(Row(figure=f"sent back to the flooder: {name}", unit="bytes", samples=[back], aim=0.0))
    return result


async def _unsteady(nodes: Cluster, for_s: float) -> int:
    """Return how many members, seen by any node, are not alive or were not all the time."""
    views = await asyncio.gather(*(client.members() for client in nodes.clients.values()))
    return sum(
        member["state"] != "alive" or member["since_s"] < for_s
        for members in views
        for member in members.values()
        if not member["is_self"]
    )


async def _measure(pid: int, flood: Flood) -> tuple[list[float], Told]:
    """Flood, and return the CPU of `pid` in slices of the time, and what the flooder told."""
    arguments = msgspec.json.encode(flood).decode()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.network_flood", "flood", arguments,
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment_of_a_child(),
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(flood.seconds + 30.0):
        await process.stdout.readline()  # it begins
        cpu = await _cpu_percent(pid, flood.seconds - 0.5)
        out, said = await process.communicate()
    if process.returncode:
        raise DaemonError(f"the flooder ended with {process.returncode}: {said.decode()}")
    return cpu, msgspec.json.decode(out, type=Told)


async def _cpu_percent(pid: int, for_s: float) -> list[float]:
    samples, end = [], time.monotonic() + for_s
    while time.monotonic() < end:
        used, at = _cpu_ticks(pid), time.monotonic()
        await asyncio.sleep(SLICE_S)
        samples.append((_cpu_ticks(pid) - used) / TICKS_PER_S / (time.monotonic() - at) * 100)
    return samples


def _cpu_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # user and system time of all threads


@asynccontextmanager
async def _sink() -> AsyncGenerator[tuple[int, int], None]:
    process: Process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.network_flood", "sink", stdin=PIPE, stdout=PIPE, env=environment_of_a_child()
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20.0):
            port = int(await process.stdout.readline())
        yield process.pid, port
    finally:
        await process.communicate(b"")  # the end of its input ends it


# --- the children -------------------------------------------------------------------------------------------------


class _Counter(asyncio.DatagramProtocol):
    """Counts datagrams and does nothing else."""

    count = 0

    def datagram_received(self, data: bytes, address: object) -> None:
        """Count one."""
        self.count += 1


async def sink() -> None:
    """Receive until the input ends."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Counter, local_addr=(LOOPBACK, 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    transport.close()


def flood(what: Flood) -> Told:
    """Send garbage evenly, `RATE` a second in bursts of a millisecond."""
    garbage = _garbage(what)
    with _socket(what) as out:
        print("ready", flush=True)
        began, sent, back = time.monotonic(), 0, 0
        while (passed_s := time.monotonic() - began) < what.seconds:
            for _ in range(min(int(passed_s * RATE) - sent, RATE // 100)):
                try:
                    out.sendto(garbage[sent % len(garbage)], (LOOPBACK, what.port))
                except BlockingIOError:
                    break
                sent += 1
            if what.kind != "spoofed":
                back += _received(out)
            time.sleep(BURST_S)
        time.sleep(0.2)
        return Told(sent, passed_s, back + (_received(out) if what.kind != "spoofed" else 0))


def _socket(what: Flood) -> socket.socket:
    if what.kind == "spoofed":
        out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    else:
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.bind((LOOPBACK, 0))
    out.setblocking(False)
    return out


def _received(out: socket.socket) -> int:
    total = 0
    while True:
        try:
            total += len(out.recv(2048))
        except BlockingIOError:
            return total


def _garbage(what: Flood) -> list[bytes]:
    rng = random.Random(1)
    sizes = [rng.randint(40, 1100) for _ in range(1000)]
    match what.kind:
        case "random":
            return [rng.randbytes(size) for size in sizes]
        case "replayed":
            return _captured(what)
        case _:
            start = b"\x01\x00" + bytes.fromhex(what.peer)[:PREFIX_BYTES]
            forged = [start + struct.pack(">Q", rng.randint(1, 5000)) + rng.randbytes(size - 18) for size in sizes]
            return [_packet(what, data) for data in forged] if what.kind == "spoofed" else forged


def _packet(what: Flood, data: bytes) -> bytes:
    """Return an IP packet that says it comes from the peer."""
    address = socket.inet_aton(LOOPBACK)
    length = 28 + len(data)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_UDP, 0, address, address)
    return ip + struct.pack(">HHHH", what.peer_port, what.port, 8 + len(data), 0) + data


def _captured(what: Flood) -> list[bytes]:
    """Return what the peer really sends, as an eavesdropper gets it."""
    found: list[bytes] = []
    everything = 3  # ETH_P_ALL
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(everything)) as ears:
        ears.bind(("lo", 0))
        ears.settimeout(0.5)
        end = time.monotonic() + CAPTURE_S
        while time.monotonic() < end:
            try:
                frame = ears.recv(2048)
            except TimeoutError:
                continue
            ports = struct.unpack_from(">HH", frame, 34) if len(frame) > 42 else (0, 0)
            if ports == (what.peer_port, what.real_port) and frame[23] == socket.IPPROTO_UDP and len(frame) > 42 + 34:
                found.append(frame[42:])
    if not found:
        raise RuntimeError("no datagram of the peer was captured")
    return found


def main() -> None:
    """Be the receiver or the flooder, as the arguments say."""
    import uvloop  # the daemon's own loop

    if sys.argv[1] == "sink":
        uvloop.run(sink())
    else:
        print(msgspec.json.encode(flood(msgspec.json.decode(sys.argv[2], type=Flood))).decode())


if __name__ == "__main__":
    main()
