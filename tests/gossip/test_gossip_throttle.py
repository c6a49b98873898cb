from __future__ import annotations

import os

from tarsd.gossip.sessions import Opened, Sessions, Stranger
from tarsd.gossip.throttle import (
    HOMES,
    MAX_SOURCES,
    PEER_BURST,
    PEER_PER_S,
    SOURCE_BURST,
    SOURCE_PER_S,
    Throttle,
)
from tarsd.names import NodeId

A, B = (NodeId(letter * 32) for letter in "ab")
HOME, ELSEWHERE = ("10.0.0.1", 7710), ("10.0.0.66", 5)


def fail(throttle: Throttle, times: int, source: tuple[str, int] = ELSEWHERE, now: float = 0.0) -> int:
    """Let `times` datagrams from `source` fail; returns how many of them were tried."""
    tried = 0
    for _ in range(times):
        if throttle.allows(A, source, now):
            throttle.failed(A, source, now)
            tried += 1
    return tried


def test_a_source_may_fail_so_often_and_then_so_often_a_second() -> None:
    throttle = Throttle()
    assert fail(throttle, 1000) == SOURCE_BURST
    assert throttle.refused == 1000 - SOURCE_BURST
    assert fail(throttle, 1000, now=1.0) == SOURCE_PER_S
    assert fail(throttle, 1000, now=3600.0) == SOURCE_BURST


def test_where_a_peer_proved_to_live_is_never_throttled() -> None:
    throttle = Throttle()
    throttle.proved(A, HOME)
    assert fail(throttle, 5000, HOME) == 5000
    assert fail(throttle, 1000) == SOURCE_BURST, "what came from its home is not counted against others"


def test_a_peer_that_moves_gets_through_while_somebody_else_floods() -> None:
    throttle = Throttle()
    fail(throttle, 5000)
    assert throttle.allows(A, ("10.0.0.2", 7710), 0.0)


def test_made_up_sources_share_one_bound_for_each_peer() -> None:
    throttle = Throttle()
    tried = sum(fail(throttle, 1, (f"10.1.{number >> 8}.{number & 255}", 1)) for number in range(5000))
    assert tried == PEER_BURST
    throttle.proved(A, HOME)
    assert not throttle.allows(A, ("10.3.0.1", 1), 0.0)
    assert throttle.allows(A, HOME, 0.0), "where it is known to live it is heard all the same"
    later = sum(fail(throttle, 1, (f"10.2.{number >> 8}.{number & 255}", 1), 0.1) for number in range(5000))
    assert later == PEER_PER_S * 0.1
    assert throttle.allows(B, ELSEWHERE, 0.1), "another peer's bound is its own"


def test_the_table_of_sources_is_bounded_and_homes_are_few() -> None:
    throttle = Throttle()
    for number in range(3 * MAX_SOURCES):
        throttle.failed(A, (f"10.1.{number >> 8}.{number & 255}", 1), float(number))
        throttle.proved(A, ("10.0.0.1", number))
    assert len(throttle._sources) == MAX_SOURCES
    assert len(throttle._homes[A]) == HOMES


def test_an_address_that_was_home_long_ago_is_home_no_more() -> None:
    throttle = Throttle()
    throttle.proved(A, HOME)
    for number in range(HOMES):
        throttle.proved(A, ("10.0.0.2", number))
    assert fail(throttle, 1000, HOME) == SOURCE_BURST


def met() -> tuple[Sessions, Sessions]:
    boots = {node: os.urandom(8) for node in (A, B)}
    a, b = (Sessions(node, boots[node], os.urandom(32)) for node in (A, B))
    a.agree(B, boots[B], b.public_key, 0)
    b.agree(A, boots[A], a.public_key, 0)
    return a, b


def forged(name: NodeId = A, counter: int = 1) -> bytes:
    return b"\x01\x00" + bytes.fromhex(name)[:8] + counter.to_bytes(8, "big") + os.urandom(40)


def test_a_forger_of_any_address_cannot_silence_a_peer() -> None:
    a, b = met()
    assert b.open(a.seal(B, b"x"), HOME) == Opened(A, b"x")
    for _ in range(3000):
        b.open(forged(), ELSEWHERE)
        b.open(forged(), HOME)
    assert b.open(a.seal(B, b"y"), HOME) == Opened(A, b"y")
    assert b.open(a.seal(B, b"z"), ("10.0.0.3", 7710)) == Opened(A, b"z"), "nor one that moves"


def test_who_failed_too_often_is_nobody_not_a_stranger_to_greet() -> None:
    _, b = met()
    answers = [b.open(forged(), ELSEWHERE) for _ in range(100)]
    assert answers == [Stranger(A)] * int(SOURCE_BURST) + [Stranger(None)] * (100 - int(SOURCE_BURST))
    assert b.throttled == 100 - SOURCE_BURST


def test_garbage_that_names_nobody_known_is_not_even_counted_by_source() -> None:
    _, b = met()
    for _ in range(100):
        assert b.open(forged(B), ELSEWHERE) == Stranger(None)
        assert b.open(os.urandom(100), ELSEWHERE) == Stranger(None)
    assert b._throttle._sources == {}


def test_a_closed_peer_leaves_nothing_behind() -> None:
    a, b = met()
    b.open(a.seal(B, b"x"), HOME)
    b.open(forged(), ELSEWHERE)
    b.close(A)
    assert (b._throttle._homes, b._throttle._peers) == ({}, {})
