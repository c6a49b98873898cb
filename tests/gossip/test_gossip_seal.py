from __future__ import annotations

import os
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tarsd.errors import WireError
from tarsd.gossip import sessions
from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.seal import LAST_COUNTER, WINDOW, End, ReplayWindow, Session, read_header
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

    def agree(self, other: Boot) -> None:
        self.sessions.agree(other.node, other.boot, public(other.private), 0)


def met() -> tuple[Boot, Boot]:
    a, b = Boot(A), Boot(B)
    a.agree(b)
    b.agree(a)
    return a, b


# Steps around the window's edges, and leaps far beyond it.
steps = st.one_of(
    st.integers(-WINDOW - 3, WINDOW + 3),
    st.sampled_from([-WINDOW - 1, -WINDOW, -WINDOW + 1, -1, 0, 1, WINDOW - 1, WINDOW, WINDOW + 1]),
    st.integers(0, 1 << 40),
)


@given(st.lists(steps, max_size=300))
def test_the_window_accepts_what_a_plain_set_would_wherever_it_stands(walk: list[int]) -> None:
    window, seen = ReplayWindow(), {0}
    for step in walk:
        counter = min(max(seen) + step, (1 << 64) - 1)
        expected = counter not in seen and counter > max(0, max(seen) - WINDOW)
        assert window.is_new(counter) is expected
        if expected:
            window.accept(counter)
            seen.add(counter)


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


def test_nothing_is_sealed_for_whom_we_have_not_met() -> None:
    assert Boot(A).sessions.seal(B, b"x") is None


@pytest.mark.parametrize("data", [b"", bytes(10), bytes(33), bytes(100), b"\x02" + bytes(60), bytes(9000)])
def test_what_is_no_datagram_of_ours_is_a_stranger_without_a_name(data: bytes) -> None:
    assert met()[0].sessions.open(data) == Stranger(None)


def test_another_version_is_refused_unread_whoever_it_names() -> None:
    a, b = met()
    assert b.sessions.open(b"\x02" + a.sessions.seal(B, b"x")[1:]) == Stranger(None)


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


def a_session() -> tuple[Session, Session]:
    """The two ends of one session."""
    a, b = End(bytes(16), bytes(8)), End(b"\xff" * 16, b"\xff" * 8)
    keys = [X25519PrivateKey.generate() for _ in range(2)]
    publics = [key.public_key().public_bytes_raw() for key in keys]
    return Session(a, b, keys[0], publics[1]), Session(b, a, keys[1], publics[0])


def test_a_key_that_has_counted_to_its_end_seals_no_more() -> None:
    here, there = a_session()
    here.sent = LAST_COUNTER - 1
    last = here.seal(b"last")
    assert there.open(read_header(last), last) == b"last"
    assert here.seal(b"one too many") is None


def test_a_leap_ahead_is_accepted_and_makes_what_is_behind_the_window_old() -> None:
    here, there = a_session()
    early = [here.seal(b"early") for _ in range(3)]
    here.sent = 3 + 10 * WINDOW
    leap = here.seal(b"far ahead")
    assert there.open(read_header(leap), leap) == b"far ahead"
    assert all(there.open(read_header(datagram), datagram) is None for datagram in early)
    here.sent -= WINDOW
    edge = here.seal(b"just inside")
    assert there.open(read_header(edge), edge) == b"just inside"


def test_twenty_thousand_replays_in_any_order_open_nothing() -> None:
    a, b = met()
    datagrams = [a.sessions.seal(B, b"%d" % number) for number in range(1000)]
    for datagram in datagrams:
        assert isinstance(b.sessions.open(datagram), Opened)
    rng = Random(1)
    assert not any(isinstance(b.sessions.open(rng.choice(datagrams)), Opened) for _ in range(20_000))


def test_what_an_older_boot_sealed_stays_closed_when_its_successor_is_met() -> None:
    a, b = met()
    recorded = [a.sessions.seal(B, b"alive") for _ in range(5)]
    again = Boot(A)
    again.agree(b)
    b.agree(again)
    assert b.sessions.open(again.sessions.seal(B, b"x")) == Opened(A, b"x")
    assert {b.sessions.open(datagram) for datagram in recorded} == {Stranger(A)}


def test_a_node_whose_session_was_closed_is_nobody() -> None:
    a, b = met()
    datagram = a.sessions.seal(B, b"x")
    b.sessions.close(A)
    assert b.sessions.open(datagram) == Stranger(None)
    assert b.sessions.seal(A, b"x") is None
    assert b.sessions.senders == frozenset()
    b.agree(a)
    assert b.sessions.senders == {bytes.fromhex(A)[:8]}


def test_only_a_new_sender_changes_who_is_let_in() -> None:
    a, b, again = Boot(A), Boot(B), Boot(A)
    assert b.sessions.agree(A, a.boot, public(a.private), 0)
    assert not b.sessions.agree(A, a.boot, public(a.private), 0)
    assert not b.sessions.agree(A, again.boot, public(again.private), 0)


def test_an_unusable_key_of_a_new_boot_leaves_the_old_session_open() -> None:
    a, b = met()
    with pytest.raises(WireError):
        b.sessions.agree(A, os.urandom(8), bytes(32), 0)
    assert b.sessions.open(a.sessions.seal(B, b"x")) == Opened(A, b"x")


def test_nobody_makes_room_since_counters_would_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_PAIRS", 3)
    own = Boot(A)
    nodes = [NodeId(f"{number:032x}"[::-1]) for number in range(4)]
    for node in nodes[:3]:
        own.sessions.agree(node, bytes(8), public(own.private), 0)
    with pytest.raises(WireError, match="3 others"):
        own.sessions.agree(nodes[3], bytes(8), public(own.private), 0)
    assert own.sessions.senders == {bytes.fromhex(node)[:8] for node in nodes[:3]}
    assert own.sessions.agree(nodes[0], b"another!", public(own.private), 0) is False, "a new boot takes its own place"
