"""What sealing costs: a datagram sealed and opened by sessions, against the bare cipher of `cryptography` in turns.

Both sides encrypt and decrypt the same message with a counter as nonce. Ours adds the header, the lookups, the replay
window and the throttle. A million replays of real datagrams follow. About 15 s with --quick, else 40.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bench.harness import Context, Row
from tarsd.gossip.codec import MAX_MESSAGE_BYTES, decode, encode
from tarsd.gossip.member import LOAD_BYTES, Address
from tarsd.gossip.messages import Ping
from tarsd.gossip.sessions import Opened, Sessions
from tarsd.names import NodeId

A, B = NodeId("a" * 32), NodeId("b" * 32)
SOURCE: Address = ("10.0.0.1", 7710)
GROUP = 2000  # datagrams a sample
RECORDED = 1000
REPLAYS = 1_000_000
RATIO_AIM = 4.0


async def rows(context: Context) -> list[Row]:
    """Return the cost of a datagram, small and large, of agreeing on keys, and how many replays were accepted."""
    result: list[Row] = []
    ping = encode(Ping(7, bytes(LOAD_BYTES), bytes(8), 6))
    async with context.watched(result):
        result += [
            _cost(f"seal and open a ping ({len(ping)} bytes)", ping, context.pick(20, 100)),
            _cost(
                f"seal and open the largest ({MAX_MESSAGE_BYTES} bytes)",
                os.urandom(MAX_MESSAGE_BYTES),
                context.pick(20, 100),
            ),
            _codec(ping, context.pick(10, 50)),
            _agreement(context.pick(10, 50)),
            *_replays(),
        ]
    return result


def _met() -> tuple[Sessions, Sessions]:
    boots = os.urandom(8), os.urandom(8)
    here, there = Sessions(A, boots[0], os.urandom(32)), Sessions(B, boots[1], os.urandom(32))
    here.agree(B, boots[1], there.public_key, 0)
    there.agree(A, boots[0], here.public_key, 0)
    return here, there


def _cost(figure: str, message: bytes, samples: int) -> Row:
    here, there = _met()
    cipher, header, counter = ChaCha20Poly1305(os.urandom(32)), bytes(18), itertools.count()

    def ours() -> None:
        datagram = here.seal(B, message)
        assert datagram is not None
        assert isinstance(there.open(datagram, SOURCE, 1.0), Opened)

    def bare() -> None:
        nonce = next(counter).to_bytes(12, "big")
        cipher.decrypt(nonce, cipher.encrypt(nonce, message, header), header)

    measured, reference = _in_turns(ours, bare, samples)
    return Row(
        figure=figure, unit="us", samples=measured, aim=RATIO_AIM, aim_on="ratio", reference=reference,
        reference_name="bare ChaCha20-Poly1305",
    )  # fmt: skip


def _codec(ping: bytes, samples: int) -> Row:
    measured, _ = _in_turns(lambda: encode(decode(ping)), lambda: None, samples)
    return Row(figure="decode and encode a ping", unit="us", samples=measured)


def _agreement(samples: int) -> Row:
    here, there = _met()[0], Sessions(B, os.urandom(8), os.urandom(32))
    times = []
    for _ in range(samples):
        began = time.perf_counter()
        here.agree(B, os.urandom(8), there.public_key, 0)
        times.append((time.perf_counter() - began) * 1e6)
    return Row(figure="agree on keys with a peer", unit="us", samples=times, note="once for each boot and key")


def _replays() -> list[Row]:
    here, there = _met()
    recorded = [here.seal(B, b"alive") for _ in range(RECORDED)]
    assert all(isinstance(there.open(datagram or b"", SOURCE, 1.0), Opened) for datagram in recorded)
    accepted, began = 0, time.perf_counter()
    for _ in range(REPLAYS // RECORDED):
        accepted += sum(isinstance(there.open(datagram or b"", SOURCE, 1.0), Opened) for datagram in recorded)
    each_us = (time.perf_counter() - began) / REPLAYS * 1e6
    return [
        Row(figure=f"{REPLAYS:,} replays: accepted", unit="", samples=[float(accepted)], aim=0.0),
        Row(figure="refusing a replay", unit="us", samples=[each_us]),
    ]


def _in_turns(ours: Callable[[], object], bare: Callable[[], object], samples: int) -> tuple[list[float], list[float]]:
    measured, reference = [], []
    for _ in range(samples):
        measured.append(_each_us(ours))
        reference.append(_each_us(bare))
    return measured, reference


def _each_us(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(GROUP):
        work()
    return (time.perf_counter() - began) / GROUP * 1e6
