from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tarsd.errors import WireError
from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.seal import WINDOW, ReplayWindow
from tarsd.gossip.sessions import Opened, Sessions, Stranger
from tarsd.names import NodeId

A, B, C = (NodeId(letter * 32) for letter in "abc")


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


class Boot:
    """One boot of a node, with its keys."""

    def __init__(self, node: NodeId) -> None:
        self.node, self.boot, self.private = node, os.urandom(8), os.urandom(32)
        self.sessions = Sessions(node, self.boot, self.private)

    def agree(self, other: Boot, epoch: int = 0) -> None:
        self.sessions.agree(other.node, other.boot, public(other.private), epoch)


def met() -> tuple[Boot, Boot]:
    a, b = Boot(A), Boot(B)
    a.agree(b)
    b.agree(a)
    return a, b


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=200))
def test_the_window_accepts_what_a_plain_set_would(counters: list[int]) -> None:
    window, seen = ReplayWindow(), {0}
    for counter in counters:
        expected = counter not in seen and counter > max(seen) - WINDOW
        assert window.is_new(counter) is expected
        if expected:
            window.accept(counter)
            seen.add(counter)


def test_both_directions_open_at_the_other_end() -> None:
    a, b = met()
    for number in range(3):
        message = b"message %d" % number
        assert b.sessions.open(a.sessions.seal(B, message)) == Opened(A, message)
        assert a.sessions.open(b.sessions.seal(A, message)) == Opened(B, message)


def test_the_two_directions_have_different_keys() -> None:
    a, b = met()
    there, back = a.sessions.seal(B, bytes(32)), b.sessions.seal(A, bytes(32))
    assert there[10:18] == back[10:18]  # the same counter, which is the nonce
    assert there[18:50] != back[18:50]  # without the tags, which differ by the header anyway
    reflected = there[:2] + back[2:10] + there[10:]
    assert a.sessions.open(reflected) == Stranger(B)


def test_a_datagram_is_accepted_once() -> None:
    a, b = met()
    datagrams = [a.sessions.seal(B, b"x") for _ in range(5)]
    assert all(isinstance(b.sessions.open(datagram), Opened) for datagram in reversed(datagrams))
    assert all(b.sessions.open(datagram) == Stranger(A) for datagram in datagrams)


def test_a_greeting_said_again_does_not_open_the_door_to_replays() -> None:
    a, b = met()
    old = a.sessions.seal(B, b"old")
    b.sessions.open(old)
    b.agree(a)
    a.agree(b)
    assert b.sessions.open(old) == Stranger(A)
    assert a.sessions.seal(B, b"old")[10:18] != old[10:18], "the counter must not start again under the same key"


def test_a_forged_datagram_does_not_move_the_window() -> None:
    a, b = met()
    good = a.sessions.seal(B, b"x")
    forged = good[:10] + (1 << 60).to_bytes(8, "big") + good[18:]
    assert b.sessions.open(forged) == Stranger(A)
    assert b.sessions.open(good) == Opened(A, b"x")


@given(st.integers(0, 1000), st.integers(1, 255))
def test_any_changed_bit_is_noticed(at: int, change: int) -> None:
    a, b = met()
    datagram = bytearray(a.sessions.seal(B, b"some message"))
    datagram[at % len(datagram)] ^= change
    assert isinstance(b.sessions.open(bytes(datagram)), Stranger)


def test_a_datagram_of_another_boot_is_a_stranger_with_a_name() -> None:
    _a, b = met()
    again = Boot(A)
    again.agree(b)
    assert b.sessions.open(again.sessions.seal(B, b"x")) == Stranger(A)


def test_another_boot_replaces_the_session_at_once() -> None:
    a, b = met()
    late = a.sessions.seal(B, b"late")
    again = Boot(A)
    again.agree(b)
    b.agree(again)
    assert b.sessions.open(late) == Stranger(A)
    assert b.sessions.open(again.sessions.seal(B, b"x")) == Opened(A, b"x")


def test_the_boots_are_part_of_the_key() -> None:
    a, b = met()
    other = Sessions(B, os.urandom(8), b.private)  # the same key pair in another boot
    other.agree(A, a.boot, public(a.private), 0)
    assert other.open(a.sessions.seal(B, b"x")) == Stranger(A)


def test_a_new_epoch_keeps_what_is_on_its_way() -> None:
    a, b = met()
    late = a.sessions.seal(B, b"late")
    a.agree(b, epoch=1)
    b.agree(a, epoch=1)
    assert b.sessions.open(a.sessions.seal(B, b"new")) == Opened(A, b"new")
    assert b.sessions.open(late) == Opened(A, b"late")


def test_nothing_is_sealed_for_whom_we_have_not_met() -> None:
    assert Boot(A).sessions.seal(B, b"x") is None


@pytest.mark.parametrize("data", [b"", bytes(10), bytes(33), bytes(100), b"\x02" + bytes(60), bytes(9000)])
def test_what_is_no_datagram_of_ours_is_a_stranger_without_a_name(data: bytes) -> None:
    assert met()[0].sessions.open(data) == Stranger(None)


def test_a_key_that_yields_no_secret_is_refused() -> None:
    with pytest.raises(WireError):
        Boot(A).sessions.agree(B, bytes(8), bytes(32), 0)


def test_two_nodes_with_the_same_short_id_are_not_mixed_up() -> None:
    a, _b = met()
    twin = NodeId(B[:16] + "0" * 16)
    with pytest.raises(WireError, match="share"):
        a.sessions.agree(twin, bytes(8), public(os.urandom(32)), 0)


def test_the_largest_message_fits() -> None:
    from tarsd.gossip.codec import MAX_MESSAGE_BYTES

    a, b = met()
    datagram = a.sessions.seal(B, bytes(MAX_MESSAGE_BYTES))
    assert len(datagram) == MAX_DATAGRAM_BYTES
    assert b.sessions.open(datagram) == Opened(A, bytes(MAX_MESSAGE_BYTES))
