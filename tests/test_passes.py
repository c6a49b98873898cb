"""The passes that open a node's chat, rule by rule."""

from __future__ import annotations

from tarsd.names import NodeId
from tarsd.passes import MAX_OF_EACH, PassBook, digest_of

PC1, PC2 = NodeId("1" * 32), NodeId("2" * 32)


def test_a_pass_that_was_told_opens_and_says_who_gave_it():
    book = PassBook()
    book.admit(PC1, [digest_of("secret")], until=10.0, now=0.0)
    assert book.giver_of("secret", 1.0) == PC1
    assert book.giver_of("another", 1.0) is None


def test_what_is_told_of_a_pass_does_not_open():
    book = PassBook()
    book.admit(PC1, [digest_of("secret")], until=10.0, now=0.0)
    assert book.giver_of(digest_of("secret").hex(), 1.0) is None


def test_a_pass_ends_with_its_time_unless_it_is_renewed():
    book = PassBook()
    book.admit(PC1, [digest_of("a"), digest_of("b")], until=10.0, now=0.0)
    book.admit(PC1, [digest_of("a")], until=20.0, now=5.0)
    assert book.giver_of("b", 9.9) == PC1
    assert book.giver_of("b", 10.0) is None
    assert book.giver_of("a", 19.9) == PC1


def test_passes_that_ended_are_forgotten():
    book = PassBook()
    book.admit(PC1, [digest_of("old")], until=10.0, now=0.0)
    book.admit(PC1, [digest_of("new")], until=30.0, now=20.0)
    assert len(book) == 1


def test_a_node_fills_only_its_own_part_and_what_ends_soonest_makes_room():
    book = PassBook()
    book.admit(PC2, [digest_of("of another")], until=5.0, now=0.0)
    book.admit(PC1, [digest_of("soonest")], until=9.0, now=0.0)
    book.admit(PC1, [digest_of(f"{n}") for n in range(MAX_OF_EACH)], until=10.0, now=0.0)
    assert book.giver_of("soonest", 1.0) is None
    assert book.giver_of("0", 1.0) == PC1
    assert book.giver_of("of another", 1.0) == PC2
    assert len(book) == MAX_OF_EACH + 1
