from __future__ import annotations

from tarsd.calls import Removed
from tarsd.gossip.member import State
from tarsd.memory.bodies import ObeyedBody, ReceiptBody
from tarsd.names import Zone
from tarsd.planning.receipts import AWAY, NOT_YET, REVOKED, nodes_to_obey, receipt_item, removed_of
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
    assert receipt_item(RECEIPT, {A.node: said("a"), B.node: said("b")}, members).is_whole
    half = receipt_item(RECEIPT, {B.node: said("b")}, members)
    assert not half.is_whole
    assert half.nodes == [Removed("a", "pending", reason=NOT_YET), said("b")]


def test_a_node_that_is_away_obeys_when_it_returns() -> None:
    for members in ({}, {A.node: member("a", state=State.LEFT)}, {A.node: member("a", state=State.DEAD)}):
        assert receipt_item(RECEIPT, {B.node: said("b")}, members).nodes[0] == Removed("a", "pending", reason=AWAY)


def test_a_node_that_was_thrown_out_is_named_as_one_that_cannot_be_told() -> None:
    revoked = {A.node: member("a", state=State.REVOKED)}
    item = receipt_item(RECEIPT, {B.node: said("b")}, revoked)
    assert item.nodes[0] == Removed("a", "failed", reason=REVOKED)
    assert not item.is_whole


def test_a_node_that_was_not_named_and_found_something_is_shown_too() -> None:
    item = receipt_item(RECEIPT, {each.node: said(each.name) for each in (A, B, C)}, {})
    assert [removed.node for removed in item.nodes] == ["a", "b", "c"]


def test_what_a_node_says_is_shown_as_it_said_it() -> None:
    body = ObeyedBody("r", "n", "pc1", 1, 2, 3, 4, 5, ["a.tarsd-backup"], ["m.db.corrupt-1"], 6.0)
    assert removed_of(body) == Removed("pc1", "done", 1, 2, 3, 4, 5, ["a.tarsd-backup"], ["m.db.corrupt-1"], "", 6.0)
