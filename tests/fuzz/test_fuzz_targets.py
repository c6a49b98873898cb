"""The fuzz targets under hypothesis in every run, and under atheris for a moment where it is installed."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarsd.errors import WireError
from tarsd.gossip.codec import MAX_HELLO_BYTES, MAX_MESSAGE_BYTES, decode, decode_hello, encode, encode_hello
from tarsd.gossip.messages import Hello, Message
from tests.conftest import REPOSITORY
from tests.fuzz import strategies
from tests.fuzz.corpus import record
from tests.fuzz.reference import Reference
from tests.fuzz.targets import TARGETS, Lab

ATHERIS = importlib.util.find_spec("atheris") is not None
known_inputs = functools.cache(record)
long = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_simulator_says_breaks_nothing(name: str) -> None:
    assert known_inputs()[name]
    for data in sorted(known_inputs()[name])[:100]:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@long
def test_any_bytes_and_damaged_inputs_break_nothing(name: str, data: st.DataObject) -> None:
    known = bytearray(data.draw(st.sampled_from(sorted(known_inputs()[name]))))
    for _ in range(data.draw(st.integers(0, 4))):
        if known:
            known[data.draw(st.integers(0, len(known) - 1))] = data.draw(st.integers(0, 255))
    TARGETS[name](data.draw(st.one_of(st.just(bytes(known)), st.binary(max_size=1200))))


@given(st.lists(st.one_of(strategies.messages, strategies.hellos, st.just(None)), max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_member_that_says_any_valid_thing_breaks_nothing(said: list[Message | Hello | None]) -> None:
    nodes = Lab()
    for message in said:
        match message:
            case None:
                nodes.wait()
            case Hello():
                nodes.greet(encode_hello(message))
            case _:
                try:
                    nodes.say(encode(message))
                except WireError:
                    continue  # no datagram can hold it
    nodes.wait()
    nodes.sim.run(3.0)
    nodes.check()


@given(strategies.messages)
def test_what_is_built_from_the_structs_survives_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_a_plain_decoder_reads_the_same(data: st.DataObject) -> None:
    """What msgspec takes for a message or a greeting, a decoder written from the specification takes for the same."""
    name = data.draw(st.sampled_from(["datagram", "hello"]))
    known = bytearray(data.draw(st.sampled_from(sorted(known_inputs()[name]))))
    for _ in range(data.draw(st.integers(0, 3))):
        known[data.draw(st.integers(0, len(known) - 1))] = data.draw(st.integers(0, 255))
    kind, read = (Message, decode) if name == "datagram" else (Hello, decode_hello)
    try:
        fast = read(bytes(known))
    except WireError:
        return
    assert msgspec.convert(Reference(bytes(known)).whole(), kind, strict=True) == fast


NESTED = [b"\x91" * MAX_MESSAGE_BYTES, b"\x81\xa1a" * (MAX_MESSAGE_BYTES // 3), b"\x9f" * MAX_MESSAGE_BYTES]
HUGE = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]


@pytest.mark.parametrize("data", [*NESTED, *HUGE, *(b"\x92\x06" + huge for huge in HUGE)])
def test_depth_and_declared_lengths_cost_nothing(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)
    with pytest.raises(WireError):
        decode_hello(data)


@pytest.mark.parametrize("field", ["members", "addresses", "version", "later"])
@pytest.mark.parametrize("huge", [*HUGE, b"\x91" * 100_000, b"\x81\xa1a" * 100_000])
def test_a_greeting_field_of_any_declared_size_is_refused(field: str, huge: bytes) -> None:
    body = msgspec.msgpack.encode({"port": 7710}) + msgspec.msgpack.encode(field) + huge
    with pytest.raises(WireError):
        decode_hello(b"\x82" + body[1:])
    with pytest.raises(WireError):
        decode_hello((b"\x82" + body[1:]).ljust(MAX_HELLO_BYTES + 1, b"\0"))


@pytest.mark.skipif(not ATHERIS, reason="atheris is not installed (extra `fuzz`)")
@pytest.mark.parametrize("name", TARGETS)
def test_atheris_finds_nothing_in_a_moment(name: str, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for number, data in enumerate(sorted(known_inputs()[name])):
        (inputs / str(number)).write_bytes(data)
    command = [
        sys.executable,
        "-m",
        f"tests.fuzz.fuzz_{name}",
        str(inputs),
        "-runs=800",
        "-max_total_time=5",
        "-seed=1",
    ]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr
