from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarsd.errors import WireError
from tarsd.gossip.codec import MAX_HELLO_BYTES, MAX_MESSAGE_BYTES, decode, decode_hello, encode, encode_hello
from tarsd.gossip.member import LOAD_BYTES, Load
from tarsd.gossip.messages import (
    MAX_CLAIMS,
    MAX_FACTS,
    Ack,
    Busy,
    Claim,
    Delta,
    Digest,
    DigestEntry,
    Fact,
    Hello,
    Leave,
    Nack,
    Ping,
    PingRequest,
    Rumours,
    Vouch,
    Word,
)
from tarsd.gossip.rumours import CLAIMS_PER_DATAGRAM

u32 = st.integers(0, 0xFFFFFFFF)
ids = st.binary(min_size=16, max_size=16)
prefixes = st.binary(min_size=8, max_size=8)
loads = st.binary(min_size=LOAD_BYTES, max_size=LOAD_BYTES)
claims = st.builds(Claim, ids, st.sampled_from(Word), u32, u32, ids, st.binary(max_size=64))
facts = st.builds(Fact, st.text(min_size=1, max_size=20), u32, st.binary(max_size=100))
few_claims = st.lists(claims, max_size=CLAIMS_PER_DATAGRAM)
messages = st.one_of(
    st.builds(Ping, u32, loads, prefixes, u32, few_claims),
    st.builds(Ack, u32, loads, prefixes, few_claims),
    st.builds(PingRequest, u32, ids),
    st.builds(Vouch, u32, ids),
    st.builds(Nack, u32, ids),
    st.builds(Rumours, few_claims),
    st.builds(Digest, st.lists(st.builds(DigestEntry, prefixes, u32, u32), max_size=48), st.booleans()),
    st.builds(Delta, ids, u32, u32, u32, st.lists(facts, max_size=4), st.binary(max_size=64)),
    st.builds(Leave, u32, u32, st.text(max_size=32), u32, st.binary(max_size=64)),
    st.builds(Busy, u32),
)


def a_hello(**changes: object) -> Hello:
    values = {
        "protocol_min": 1,
        "protocol_max": 1,
        "generation": 1,
        "incarnation": 0,
        "boot": bytes(8),
        "exchange_key": bytes(32),
        "signing_key": bytes(32),
        "epoch": 0,
        "port": 7710,
    }
    return Hello(**(values | changes))


@given(messages)
def test_a_message_survives_the_wire(message: object) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=MAX_MESSAGE_BYTES + 10))
@settings(max_examples=500)
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    for read in (decode, decode_hello):
        with contextlib.suppress(WireError):
            read(data)


@given(messages, st.data())
@settings(max_examples=300)
def test_a_damaged_message_is_a_message_or_a_wire_error(message: object, data: st.DataObject) -> None:
    damaged = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        decode(bytes(damaged))


def test_the_largest_ping_with_rumours_fits_a_datagram() -> None:
    claim = Claim(b"\xff" * 16, Word.LEFT, 0xFFFFFFFF, 0xFFFFFFFF, b"\xff" * 16, b"\xff" * 64)
    encode(Ping(0xFFFFFFFF, bytes(LOAD_BYTES), bytes(8), 0xFFFFFFFF, [claim] * CLAIMS_PER_DATAGRAM))


def test_a_full_digest_fits_a_datagram() -> None:
    encode(Digest([DigestEntry(b"\xff" * 8, 0xFFFFFFFF, 0xFFFFFFFF)] * 48))


def raw(*values: object) -> bytes:
    return msgspec.msgpack.encode(list(values))


@pytest.mark.parametrize(
    "data",
    [
        raw(6, [[bytes(16), 0, 1, 0, bytes(16), b""]] * (MAX_CLAIMS + 1)),
        raw(6, [[bytes(15), 0, 1, 0, bytes(16), b""]]),
        raw(6, [[bytes(16), 9, 1, 0, bytes(16), b""]]),
        raw(6, [[bytes(16), 0, -1, 0, bytes(16), b""]]),
        raw(6, [[bytes(16), 0, 1, 0, bytes(16), bytes(65)]]),
        raw(1, 1, bytes(LOAD_BYTES + 1), bytes(8)),
        raw(8, bytes(16), 1, 0, 1, [["k", 1, b""]] * (MAX_FACTS + 1), b""),
        raw(8, bytes(16), 1, 0, 1, [["", 1, b""]], b""),
        raw(8, bytes(16), 1, 0, 1, [["k" * 65, 1, b""]], b""),
        raw(10, 1 << 32),
        raw(99, 1),
        b"",
        b"\xdd\xff\xff\xff\xff",
        bytes(MAX_MESSAGE_BYTES + 1),
    ],
)
def test_what_exceeds_a_bound_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_what_no_datagram_can_hold_is_not_encoded() -> None:
    with pytest.raises(WireError):
        encode(Delta(bytes(16), 1, 0, 1, [Fact("k", 1, bytes(1024)), Fact("l", 1, bytes(1024))], bytes(64)))


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert decode(raw(2, 7, bytes(LOAD_BYTES), bytes(8), [], [], "new", {"also": "new"})) == Ack(7, bytes(16), bytes(8))
    later = msgspec.msgpack.encode({**msgspec.to_builtins(a_hello(), builtin_types=(bytes,)), "news": [1, 2]})
    assert decode_hello(later) == a_hello()


@pytest.mark.parametrize(
    "changes",
    [
        {"boot": bytes(7)},
        {"exchange_key": bytes(31)},
        {"port": 0},
        {"generation": -1},
        {"addresses": [("10.0.0.1", 7710)] * 9},
        {"addresses": [("10.0.0.1", 65536)]},
        {"load": bytes(15)},
        {"version": "v" * 256},
    ],
)
def test_a_greeting_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(WireError):
        decode_hello(encode_hello(a_hello(**changes)))


def test_a_greeting_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(WireError, match="over"):
        decode_hello(bytes(MAX_HELLO_BYTES + 1))


@given(
    st.builds(
        Load,
        queued=st.integers(0, 65535),
        running=st.integers(0, 65535),
        slots=st.integers(0, 65535),
        flags=st.integers(0, 65535),
        tokens_per_s=st.floats(0, 1e6, width=32),
        first_token_ms=st.integers(0, 65535),
        cpu_percent=st.integers(0, 255).map(float),
        memory_percent=st.integers(0, 255).map(float),
    )
)
def test_a_load_survives_its_sixteen_bytes(load: Load) -> None:
    assert len(load.pack()) == 16
    assert Load.unpack(load.pack()) == load


@given(st.binary(min_size=16, max_size=16))
def test_any_sixteen_bytes_are_a_load_that_can_be_ranked(data: bytes) -> None:
    assert 0.0 <= Load.unpack(data).tokens_per_s <= 1e9


def test_a_load_too_large_for_its_bytes_is_cut() -> None:
    load = Load.unpack(Load(queued=10**9, running=-5, cpu_percent=1000.0).pack())
    assert (load.queued, load.running, load.cpu_percent) == (65535, 0, 255.0)
