from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tarsd.calls import Record
from tarsd.errors import InvalidInput
from tarsd.memory.log import (
    EMPTY,
    MAX_BODY_BYTES,
    Grave,
    Head,
    ancestors,
    erase,
    fault,
    graves_of,
    is_covered,
    is_erased,
    link,
    make,
)


def chain(count: int, origin: str = "node.1", body: bytes = b"text") -> list[Record]:
    records: list[Record] = []
    head = EMPTY
    for number in range(count):
        records.append(make(origin, head, 100 + number, "note", f"note/{number}", body + bytes([number])))
        head = Head(records[-1].seq, records[-1].sha)
    return records


CHANGES = [
    {"origin": "node.2"},
    {"seq": 3},
    {"hlc": 7},
    {"kind": "other"},
    {"key": "note/x"},
    {"body": b"changed"},
    {"body": b""},
    {"prev_sha": bytes(31) + b"1"},
    {"sha": bytes(32)},
    {"version": 2},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_a_record_changed_in_any_field_is_at_fault(change: dict[str, object]) -> None:
    record = chain(2)[1]
    assert fault(record) == ""
    assert "seal" in fault(replace(record, **change))


def test_an_erased_record_keeps_its_seal_and_says_so() -> None:
    record = chain(1)[0]
    erased = erase(record)
    assert is_erased(erased)
    assert not is_erased(record)
    assert fault(erased) == ""
    assert record.body not in erased.body
    assert erase(erased) == erased


def test_a_whole_body_of_32_bytes_is_not_taken_for_an_erased_one() -> None:
    record = make("node.1", EMPTY, 1, "note", "note/1", bytes(32))
    assert not is_erased(record)
    assert is_erased(erase(record))


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0},
        {"seq": 2**63},
        {"hlc": -1},
        {"hlc": 2**63},
        {"version": 0},
        {"origin": ""},
        {"kind": "k" * 129},
        {"key": "a\nb"},
        {"key": "a\0b"},
        {"key": "k" * 513},
        {"sha": b"short"},
        {"prev_sha": bytes(33)},
        {"body": bytes(MAX_BODY_BYTES + 1)},
        {"kind": "tombstone", "key": "document"},
        {"kind": "tombstone", "key": "document/"},
    ],
    ids=str,
)
def test_a_record_over_a_bound_is_at_fault(change: dict[str, object]) -> None:
    reason = fault(replace(chain(1)[0], **change))
    assert reason
    assert "seal" not in reason


def test_an_own_record_over_a_bound_is_refused_with_a_reason() -> None:
    with pytest.raises(InvalidInput, match="over 1048576 bytes"):
        make("node.1", EMPTY, 1, "note", "note/1", bytes(MAX_BODY_BYTES + 1))


@given(st.permutations(range(6)), st.integers(0, 3))
def test_a_chain_is_linked_from_any_order(order: list[int], known: int) -> None:
    records = chain(6)
    head = Head(known, records[known - 1].sha) if known else EMPTY
    seals = {record.seq: record.sha for record in records[:known]}
    linked = link(head, [records[number] for number in order], seals)
    assert linked.accepted == records[known:]
    assert linked.waiting == linked.refused == []


def test_what_comes_before_its_predecessor_waits() -> None:
    one, _, three, four = chain(4)
    linked = link(EMPTY, [four, one, three], {})
    assert linked.accepted == [one]
    assert linked.waiting == [three, four]


def test_a_record_that_does_not_continue_the_chain_is_refused() -> None:
    one = chain(1)[0]
    other = chain(2, body=b"other")[1]
    linked = link(Head(1, one.sha), [other], {})
    assert linked.accepted == []
    assert "chain" in linked.refused[0].reason


def test_a_second_record_with_a_known_number_is_a_fork() -> None:
    one, two = chain(2)
    other = chain(1, body=b"other")[0]
    linked = link(Head(2, two.sha), [one, other], {1: one.sha})
    assert [each.sha for each in linked.refused] == [other.sha]
    assert "fork" in linked.refused[0].reason


def test_of_two_records_with_one_number_in_one_batch_one_is_taken() -> None:
    one, other = chain(1)[0], chain(1, body=b"other")[0]
    linked = link(EMPTY, [one, other], {})
    assert len(linked.accepted) == len(linked.refused) == 1


def test_a_tombstone_covers_its_key_and_all_below_that_is_older() -> None:
    graves = {"document/1": Grave(50, "node.1")}
    record = Record("node.2", 1, 49, "passage", "document/1/3/0-9", b"", b"", b"")
    assert is_covered(record, graves)
    assert is_covered(replace(record, key="document/1"), graves)
    assert not is_covered(replace(record, key="document/10"), graves)
    assert not is_covered(replace(record, key="document"), graves)
    assert not is_covered(replace(record, hlc=51), graves)
    for origin in ("node.0", "node.1~0", "node.2"):  # a branch may give way and be named otherwise
        assert is_covered(replace(record, hlc=50, origin=origin), graves)
    assert not is_covered(replace(record, kind="tombstone"), graves)


def test_the_latest_tombstone_of_a_key_counts() -> None:
    early = Record("node.1", 1, 10, "tombstone", "a/b", b"", b"", b"")
    late = replace(early, hlc=20)
    assert graves_of([late, early], {}) == {"a/b": Grave(20, "node.1")}
    assert graves_of([early], {"a/b": Grave(15, "x")}) == {"a/b": Grave(15, "x")}


def test_ancestors_of_a_key_are_its_paths() -> None:
    assert ancestors("a/b/c") == ["a", "a/b", "a/b/c"]
