"""Who has what: only what was said, only as far as it is the same chain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tarsd.calls import Record
from tarsd.memory.copies import Holdings, agree, to_compare
from tarsd.memory.log import EMPTY, Head, make
from tarsd.names import NodeId

ANA, BOB, CARL = NodeId("a"), NodeId("b"), NodeId("c")


def chain(origin: str, count: int) -> list[Record]:
    records: list[Record] = []
    head = EMPTY
    for number in range(count):
        records.append(make(origin, head, 1 + number, "note", f"note/{number}", origin.encode()))
        head = Head(records[-1].seq, records[-1].sha)
    return records


def test_what_a_node_said_last_counts_even_when_it_is_less() -> None:
    holdings = Holdings()
    assert holdings.told(BOB, {"o": 5})
    assert not holdings.told(BOB, {"o": 5})
    assert holdings.told(BOB, {"o": 2})
    assert holdings.holders(chain("o", 3)) == set()
    assert holdings.holders(chain("o", 2)) == {BOB}


def test_a_node_holds_records_only_when_it_has_all_of_them() -> None:
    holdings = Holdings({BOB: {"o": 2, "p": 1}, CARL: {"o": 2}})
    assert holdings.holders([*chain("o", 2), *chain("p", 1)]) == {BOB}
    assert holdings.holders(chain("o", 2)) == {BOB, CARL}
    assert holdings.holders(chain("o", 2), among={CARL}) == {CARL}
    holdings.drop(CARL)
    assert holdings.nodes() == [BOB]


def test_safe_is_what_the_best_of_the_others_has_and_never_more_than_we_have() -> None:
    holdings = Holdings({BOB: {"o": 3}, CARL: {"o": 9, "p": 1}})
    assert holdings.safe({"o": 5, "p": 4, "q": 2}, {BOB, CARL}) == {"o": 5, "p": 1, "q": 0}
    assert holdings.safe({"o": 5}, {BOB}) == {"o": 3}
    assert holdings.safe({"o": 5}, set()) == {"o": 0}


def test_behind_counts_the_records_of_all_origins_and_names_the_first_of_each() -> None:
    holdings = Holdings({BOB: {"o": 3, "q": 9}})
    lacks = holdings.behind(BOB, {"o": 5, "p": 4, "q": 2})
    assert (lacks.records, lacks.first) == (6, {"o": 4, "p": 1})
    assert holdings.behind(CARL, {"o": 5}).records == 5


def test_heads_on_our_chain_count_and_heads_on_another_branch_do_not() -> None:
    records = chain("o", 5)
    mine = {"o": Head(5, records[4].sha)}
    assert to_compare(mine, {"o": (3, b"?"), "p": (4, b"?")}) == {"o": 3}
    same = agree(mine, {"o": (3, records[2].sha)}, {"o": records[2].sha})
    assert (same.have, same.ahead, same.forked) == ({"o": 3}, [], [])
    other = agree(mine, {"o": (3, b"x" * 32)}, {"o": records[2].sha})
    assert (other.have, other.forked) == ({}, ["o"])
    at_the_end = agree(mine, {"o": (5, b"x" * 32)}, {})
    assert (at_the_end.have, at_the_end.forked) == ({}, ["o"])


def test_who_has_more_than_we_have_is_ahead() -> None:
    found = agree({"o": Head(5, b"s")}, {"o": (7, b"t"), "new": (2, b"u"), "none": (0, b"")}, {})
    assert found.ahead == ["o", "new"]
    assert found.have == {"o": 5, "new": 0, "none": 0}


def test_who_has_more_of_what_we_write_ourselves_is_no_copy_of_it() -> None:
    found = agree({"o": Head(5, b"s")}, {"o": (7, b"t")}, {}, own="o")
    assert (found.ahead, found.have) == (["o"], {})


@given(st.integers(0, 8), st.integers(0, 8))
def test_two_nodes_on_one_chain_never_see_a_fork(mine: int, theirs: int) -> None:
    records = chain("o", 8)

    def head(count: int) -> Head:
        return Head(count, records[count - 1].sha) if count else EMPTY

    ours = {"o": head(mine)} if mine else {}
    heads = {"o": (theirs, head(theirs).sha)} if theirs else {}
    seals = {origin: records[seq - 1].sha for origin, seq in to_compare(ours, heads).items()}
    found = agree(ours, heads, seals)
    assert found.forked == []
    assert found.have.get("o", 0) == min(mine, theirs)
