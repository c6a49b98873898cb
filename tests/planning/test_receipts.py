from __future__ import annotations

import msgspec

from tarsd.calls import ForgetItem, Removed, Who
from tarsd.gossip.member import State
from tarsd.memory.bodies import ObeyedBody, ReceiptBody
from tarsd.memory.log import MAX_BODY_BYTES
from tarsd.names import Zone
from tarsd.planning.receipts import (
    AWAY,
    MAX_LISTED,
    MAX_PART_BYTES,
    NOT_YET,
    REVOKED,
    Audience,
    keys_of,
    nodes_to_obey,
    receipt_item,
    removed_of,
    shown_to,
    with_keys,
)
from tarsd.wire import encode
from tests.test_routing import member

A, B, C, D = (member(name) for name in "abcd")
RECEIPT = ReceiptBody("r", ["memory/a"], {A.node: "a", B.node: "b"}, 5.0)


def said(name: str) -> Removed:
    return Removed(name, "done", 1)


def test_every_core_node_ever_heard_of_is_to_obey_and_no_lab_node() -> None:
    lab, unseen = member("l", zone=Zone.LAB), member("u", zone=None, state=State.DEAD)
    origins = [f"{A.node}.0011", f"{lab.node}.0011", "f" * 32 + ".0011"]
    assert nodes_to_obey([A, lab, unseen], origins) == {A.node: "a", unseen.node: "u", "f" * 32: "f" * 8}


def test_a_receipt_is_whole_when_every_named_node_has_said_so() -> None:
    members = {A.node: A, B.node: B}
    assert receipt_item(RECEIPT, (), {A.node: said("a"), B.node: said("b")}, members).is_whole
    half = receipt_item(RECEIPT, (), {B.node: said("b")}, members)
    assert not half.is_whole
    assert half.nodes == [Removed("a", "pending", reason=NOT_YET), said("b")]


def test_a_node_that_is_away_obeys_when_it_returns() -> None:
    for members in ({}, {A.node: member("a", state=State.LEFT)}, {A.node: member("a", state=State.DEAD)}):
        assert receipt_item(RECEIPT, (), {B.node: said("b")}, members).nodes[0] == Removed("a", "pending", reason=AWAY)


def test_a_node_that_was_thrown_out_is_named_as_one_that_cannot_be_told() -> None:
    revoked = {A.node: member("a", state=State.REVOKED)}
    item = receipt_item(RECEIPT, (), {B.node: said("b")}, revoked)
    assert item.nodes[0] == Removed("a", "failed", reason=REVOKED)
    assert not item.is_whole


def test_a_node_that_was_not_named_and_found_something_is_shown_too() -> None:
    item = receipt_item(RECEIPT, (), {each.node: said(each.name) for each in (A, B, C)}, {})
    assert [removed.node for removed in item.nodes] == ["a", "b", "c"]


def test_what_a_node_says_is_shown_as_it_said_it() -> None:
    body = ObeyedBody("r", "n", "pc1", 1, 2, 3, 4, 5, ["a.tarsd-backup"], ["m.db.corrupt-1"], 6.0)
    assert removed_of(body) == Removed("pc1", "done", 1, 2, 3, 4, 5, ["a.tarsd-backup"], ["m.db.corrupt-1"], "", 6.0)


ANA, BEN, LEO, ADMIN = Who("ana"), Who("ben"), Who("leo"), Who(sees_all=True)
HERS: Audience = frozenset(("ana",))
THEIRS: Audience = frozenset(("ana", "ben"))


def shown(who: Who, keys: dict[str, Audience], **more: str | None) -> ForgetItem | None:
    receipt, parts = with_keys(msgspec.structs.replace(RECEIPT, keys=[], **more), keys)
    return shown_to(who, receipt, parts, {A.node: said("a"), B.node: said("b")}, {})


def test_who_forgot_it_and_an_administrator_are_shown_all_of_it() -> None:
    keys = {"memory/a": HERS, "memory/b": frozenset(("ben",))}
    for who in (ANA, ADMIN):
        item = shown(who, keys, person="ana")
        assert item is not None
        assert (item.keys, item.nodes[0].records, item.is_whole) == (["memory/a", "memory/b"], 1, True)


def test_everybody_else_is_shown_the_keys_of_what_it_could_see_and_no_figures() -> None:
    keys: dict[str, Audience] = {"memory/a": HERS, "memory/b": THEIRS, "memory/c": None}
    found = {who.person: shown(who, keys, person="ana") for who in (BEN, LEO, Who())}
    assert {person: item and item.keys for person, item in found.items()} == {
        "ben": ["memory/b", "memory/c"],
        "leo": ["memory/c"],
        "": ["memory/c"],
    }
    assert found["ben"]
    assert found["ben"].nodes == [Removed("a", "done"), Removed("b", "done")]


def test_of_what_was_anothers_there_is_no_receipt() -> None:
    assert shown(BEN, {"memory/a": HERS}, person="ana") is None
    assert shown(Who(), {"memory/a": HERS}, person="ana") is None


def test_the_receipt_of_an_older_version_is_an_administrators() -> None:
    assert shown_to(Who(), RECEIPT, (), {}, {}) is None
    assert shown_to(ADMIN, RECEIPT, (), {}, {}) is not None


def test_very_many_keys_are_in_parts_that_fit_a_record_and_in_one_receipt() -> None:
    keys: dict[str, Audience] = {f"memory/{number:0120}": HERS for number in range(30_000)}
    receipt, parts = with_keys(RECEIPT, keys)
    assert receipt.parts == len(parts) >= 6
    assert keys_of(receipt, parts) == list(keys)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert max(len(encode(body)) for body in (receipt, *parts)) < 2 * MAX_PART_BYTES == MAX_BODY_BYTES
    item = shown(ANA, keys, person="ana")
    assert item is not None
    assert (item.keys, item.more) == (list(keys)[:MAX_LISTED], 30_000 - MAX_LISTED)
