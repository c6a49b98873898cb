"""Renewing exchange keys: `pair` and `sessions` under virtual time, with greetings that carry what they carry."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tarsd.errors import WireError
from tarsd.gossip.pair import EPOCHS, MAX_KEPT, OVERLAP_S, is_newer
from tarsd.gossip.sessions import KEY_AGE_S, Opened, Sessions, Stranger
from tarsd.names import NodeId

A, B = (NodeId(letter * 32) for letter in "ab")


class End:
    """One boot of a node; it remembers every (key, nonce) under which it sealed."""

    def __init__(self, node: NodeId) -> None:
        self.node, self.boot = node, os.urandom(8)
        self.sessions = Sessions(node, self.boot, os.urandom(32))

    def hello(self) -> tuple[NodeId, bytes, bytes, int]:
        return self.node, self.boot, self.sessions.public_key, self.sessions.epoch


def greet(a: End, b: End, now: float = 0.0) -> None:
    """A greeting of `a` and the answer to it."""
    b.sessions.agree(*a.hello(), now)
    a.sessions.agree(*b.hello(), now)


def pair() -> tuple[End, End]:
    a, b = End(A), End(B)
    greet(a, b)
    talk(a, b)
    return a, b


def talk(a: End, b: End, now: float = 0.0) -> None:
    """A ping and its answer, both of which have to arrive."""
    for here, there in ((a, b), (b, a)):
        assert opens(there, here, here.sessions.seal(there.node, b"x"), now)


def opens(there: End, here: End, datagram: bytes | None, now: float = 0.0) -> bool:
    assert datagram is not None
    return there.sessions.open(datagram, ("10.0.0.1", 1), now) == Opened(here.node, b"x")


def renew(end: End, now: float = 0.0) -> bool:
    return end.sessions.renew(os.urandom(32), now)


def epochs(datagram: bytes | None) -> tuple[int, int]:
    assert datagram is not None
    return divmod(datagram[1], 16)


def test_nothing_changes_for_the_peer_before_it_has_heard_of_the_new_key() -> None:
    a, b = pair()
    assert renew(a)
    assert epochs(a.sessions.seal(B, b"x")) == (0, 0)
    talk(a, b)


def test_after_the_greeting_both_seal_for_the_new_key_within_a_round_trip() -> None:
    a, b = pair()
    renew(a)
    greet(a, b)
    assert epochs(a.sessions.seal(B, b"x")) == (0, 0), "whether its answer arrived, the greeter learns by datagram"
    assert epochs(b.sessions.seal(A, b"x")) == (0, 1)
    talk(b, a)
    assert epochs(a.sessions.seal(B, b"x")) == (1, 0)
    talk(a, b)


def test_what_was_on_its_way_is_opened_for_the_overlap_and_not_after() -> None:
    a, b = pair()
    early, late = b.sessions.seal(A, b"x"), b.sessions.seal(A, b"x")
    ours = a.sessions.seal(B, b"x"), a.sessions.seal(B, b"x")
    renew(a, 10.0)
    greet(a, b, 10.0)
    for end in (a, b):
        end.sessions.retire(9.9 + OVERLAP_S)
    assert opens(a, b, early)
    assert opens(b, a, ours[0])
    for end in (a, b):
        end.sessions.retire(10.0 + OVERLAP_S)
    assert a.sessions.open(late) == Stranger(B)
    assert b.sessions.open(ours[1]) == Stranger(A)
    talk(a, b)


def test_both_may_renew_at_once_and_lose_nothing() -> None:
    a, b = pair()
    crossing = a.sessions.seal(B, b"x"), b.sessions.seal(A, b"x")
    renew(a)
    renew(b)
    talk(a, b)
    greet(a, b)
    assert opens(b, a, crossing[0])
    assert opens(a, b, crossing[1])
    for _ in range(3):
        talk(a, b)
    assert epochs(a.sessions.seal(B, b"x")) == epochs(b.sessions.seal(A, b"x")) == (1, 1)


def test_an_answer_that_is_lost_costs_nothing() -> None:
    a, b = pair()
    renew(a)
    b.sessions.agree(*a.hello(), 0.0)  # the greeting arrives, its answer does not
    for _ in range(3):
        talk(a, b)
    assert a.sessions.behind() == []


def test_who_has_not_sealed_for_the_newest_key_is_behind_until_it_has() -> None:
    a, b = pair()
    assert a.sessions.behind() == []
    renew(a)
    assert a.sessions.behind() == [B]
    talk(a, b)
    assert a.sessions.behind() == [B]
    greet(a, b)
    talk(b, a)
    assert a.sessions.behind() == []


def test_a_late_datagram_for_the_old_key_does_not_bring_it_back() -> None:
    a, b = pair()
    late = b.sessions.seal(A, b"x")
    renew(a)
    greet(a, b)
    talk(b, a)
    assert opens(a, b, late)
    assert epochs(a.sessions.seal(B, b"x")) == (1, 0)
    assert a.sessions.behind() == []


def test_who_has_never_sealed_for_us_knows_the_key_before_at_best() -> None:
    a, b = End(A), End(B)
    greet(a, b)
    renew(a)
    assert epochs(a.sessions.seal(B, b"x")) == (0, 0)
    assert a.sessions.behind() == [B]


def test_a_greeting_written_before_a_renewal_is_understood_after_it() -> None:
    a, b = End(A), End(B)
    written = a.hello()
    renew(a)
    b.sessions.agree(*written, 0.0)
    a.sessions.agree(*b.hello(), 0.0)  # its answer
    assert opens(a, b, b.sessions.seal(A, b"x"))
    talk(a, b)
    assert a.sessions.behind() == [B]


def test_a_greeting_overtaken_by_a_later_one_does_not_bring_the_old_key_back() -> None:
    a, b = pair()
    renew(a)
    first = a.hello()
    renew(a)
    b.sessions.agree(*a.hello(), 1.0)
    b.sessions.agree(*first, 1.1)
    assert epochs(b.sessions.seal(A, b"x")) == (0, 2)


def test_a_peer_that_was_away_for_half_of_all_epochs_is_understood_again() -> None:
    a, b = pair()
    for day in range(1, 1 + EPOCHS // 2 + 5):
        a.sessions.retire(day * KEY_AGE_S)
        renew(a, day * KEY_AGE_S)
    now = 200 * KEY_AGE_S
    for end in (a, b):
        end.sessions.retire(now)
    greet(a, b, now)
    talk(b, a, now)
    talk(a, b, now)


def test_epochs_that_a_header_cannot_tell_apart_are_not_mixed_up() -> None:
    a, b = pair()
    for day in range(1, 17):
        a.sessions.retire(day * KEY_AGE_S)
        renew(a, day * KEY_AGE_S)
    assert a.sessions.epoch == 16
    a.sessions.retire(17 * KEY_AGE_S)
    greet(a, b, 17 * KEY_AGE_S)  # b still holds epoch 0, which has the same four bits
    talk(b, a, 17 * KEY_AGE_S)
    talk(a, b, 17 * KEY_AGE_S)
    renew(b, 17 * KEY_AGE_S)
    greet(b, a, 17 * KEY_AGE_S)
    talk(a, b, 17 * KEY_AGE_S)


def test_each_key_has_its_own_overlap() -> None:
    a, b = pair()
    renew(a, 0.0)
    greet(a, b, 0.0)
    talk(b, a)
    datagram = b.sessions.seal(A, b"x")
    ours = a.sessions.seal(B, b"x")
    renew(a, OVERLAP_S / 2)
    greet(a, b, OVERLAP_S / 2)
    for end in (a, b):
        end.sessions.retire(OVERLAP_S + 1.0)
    assert opens(a, b, datagram)
    assert opens(b, a, ours)


def renewed_apart() -> tuple[End, End]:
    """Two that met, and then renewed twice while neither heard of the other."""
    a, b = pair()
    for now in (10.0, 100.0):
        for end in (a, b):
            end.sessions.retire(now - 1.0)
            renew(end, now)
    for end in (a, b):
        end.sessions.retire(101.0)
    return a, b


def test_after_a_cut_in_which_both_renewed_one_greeting_is_enough() -> None:
    a, b = renewed_apart()
    greet(a, b, 101.0)
    talk(a, b, 101.0)
    assert a.sessions.behind() == b.sessions.behind() == []


def test_a_greeting_that_may_be_older_than_the_newest_key_leaves_its_sender_behind() -> None:
    a, b = renewed_apart()
    late = b.hello()
    a.sessions.agree(*late, 101.0)  # it does not say whether b was told of our newest key, and it was not
    assert a.sessions.behind() == [B]
    greet(a, b, 102.0)
    talk(b, a, 102.0)
    talk(a, b, 102.0)
    assert a.sessions.behind() == []


def test_an_older_key_that_is_shown_takes_the_place_of_one_only_supposed() -> None:
    a, b = End(A), End(B)
    greet(a, b)
    renew(a)
    b.sessions.agree(*a.hello(), 1.0)
    renew(a)
    a.sessions._pairs[B].shown = 2
    a.sessions._pairs[B].unproven = True
    talk(b, a, 1.0)
    assert (a.sessions._pairs[B].shown, a.sessions._pairs[B].unproven) == (1, False)
    talk(a, b, 1.0)


def test_one_epoch_has_one_key() -> None:
    a, b = pair()
    other = X25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(WireError, match="two keys"):
        b.sessions.agree(A, a.boot, other, 0)
    with pytest.raises(WireError, match="secret"):
        b.sessions.agree(A, a.boot, bytes(32), 1)
    talk(a, b)


def test_keys_are_renewed_no_faster_than_old_ones_are_dropped() -> None:
    a, b = pair()
    assert [renew(a, number * 0.1) for number in range(MAX_KEPT + 2)] == [True] * (MAX_KEPT - 1) + [False] * 3
    assert not a.sessions.wants_renewal(1.0), "it has to wait"
    greet(a, b, 1.0)
    talk(b, a, 1.0)
    a.sessions.retire(2.0 + OVERLAP_S)
    assert a.sessions.wants_renewal(2.0 + OVERLAP_S), "what had to wait was not forgotten"
    assert renew(a, 2.0 + OVERLAP_S)
    assert not a.sessions.wants_renewal(2.0 + OVERLAP_S)


def test_a_peer_that_renews_without_end_holds_a_bounded_number_of_our_keys() -> None:
    a, b = pair()
    for epoch in range(1, 200):
        public = X25519PrivateKey.generate().public_key().public_bytes_raw()
        b.sessions.agree(A, a.boot, public, epoch % EPOCHS, 1.0)
    held = b.sessions._pairs[A]
    assert len(held._peer_keys) <= MAX_KEPT
    assert len(held._sessions) <= MAX_KEPT


def test_the_key_is_renewed_daily_and_not_by_all_at_once() -> None:
    early, late = Sessions(A, b"\xff" * 8, os.urandom(32)), Sessions(A, bytes(8), os.urandom(32))
    for sessions in (early, late):
        assert not sessions.wants_renewal(0.0)
        assert not sessions.wants_renewal(0.74 * KEY_AGE_S)
    assert early.wants_renewal(0.76 * KEY_AGE_S)
    assert not late.wants_renewal(0.99 * KEY_AGE_S)
    assert late.wants_renewal(KEY_AGE_S)
    late.renew(os.urandom(32), KEY_AGE_S)
    assert not late.wants_renewal(1.5 * KEY_AGE_S)


def test_the_key_is_renewed_long_before_a_counter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarsd.gossip.sessions.RENEW_AFTER", 10)
    a, b = pair()
    assert not a.sessions.wants_renewal(1.0)
    for _ in range(10):
        talk(a, b)
    assert a.sessions.wants_renewal(1.0)
    renew(a, 1.0)
    assert not a.sessions.wants_renewal(1.0)


@pytest.mark.parametrize(
    ("epoch", "than", "newer"), [(1, 0, True), (0, 1, False), (0, 255, True), (255, 0, False), (5, 5, False)]
)
def test_epochs_start_again_after_255(epoch: int, than: int, newer: bool) -> None:
    assert is_newer(epoch, than) is newer


class Renewals(RuleBasedStateMachine):
    """Any order of renewals, greetings, lost answers, waiting and datagrams, delayed up to the overlap."""

    @initialize()
    def meet(self) -> None:
        self.now = 0.0
        self.ends = pair()
        self.nonces: set[tuple[int, bytes]] = set()
        self.on_the_way: list[tuple[End, End, bytes, float]] = []

    @rule(who=st.sampled_from([0, 1]))
    def renewal(self, who: int) -> None:
        renew(self.ends[who], self.now)

    @rule(who=st.sampled_from([0, 1]), answered=st.booleans())
    def greeting(self, who: int, answered: bool) -> None:
        here, there = self.ends[who], self.ends[1 - who]
        there.sessions.agree(*here.hello(), self.now)
        if answered:
            here.sessions.agree(*there.hello(), self.now)

    @rule(who=st.sampled_from([0, 1]))
    def send(self, who: int) -> None:
        here, there = self.ends[who], self.ends[1 - who]
        sealing = here.sessions._pairs[there.node]._sealing
        datagram = here.sessions.seal(there.node, b"x")
        assert datagram is not None
        nonce = (id(sealing), datagram[10:18])
        self.kept = getattr(self, "kept", [])
        self.kept.append(sealing)  # so that ids stay unique
        assert nonce not in self.nonces, "a counter was used twice under one key"
        self.nonces.add(nonce)
        self.on_the_way.append((here, there, datagram, self.now))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.on_the_way) - 1))
        here, there, datagram, _ = self.on_the_way.pop(at)
        assert opens(there, here, datagram, self.now), "lost to a renewal"
        assert not opens(there, here, datagram, self.now), "a replay"

    @rule(passed_s=st.floats(0.0, OVERLAP_S / 4))
    def wait(self, passed_s: float) -> None:
        """Time passes; within it, everybody behind is greeted, as `Station` sees to every few seconds."""
        self.now += passed_s
        self.on_the_way = [sent for sent in self.on_the_way if self.now - sent[3] < OVERLAP_S / 4]
        for _ in range(2):
            a, b = self.ends
            if a.sessions.behind() or b.sessions.behind():
                greet(a, b, self.now)
                talk(a, b, self.now)
                talk(b, a, self.now)
        for end in self.ends:
            end.sessions.retire(self.now)

    @invariant()
    def no_key_is_kept_without_bound(self) -> None:
        for end in getattr(self, "ends", ()):
            assert len(end.sessions._keys._keys) <= MAX_KEPT


TestRenewals = Renewals.TestCase
TestRenewals.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
