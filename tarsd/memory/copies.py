"""Who has which records on disk: what other nodes said of themselves, and what follows for how safe a record is. Pure.

Rules
1. A node is believed to have what it said last, no more: one that lost its disk is told apart from one that did not.
2. What counts is what was said after it was on disk there: answers to pushes, requests for records, equal marks.
3. A head counts as far as it lies on our own chain: on another branch (`log`, rule 7) it holds none of ours. Who has
   more of what we write ourselves has another branch until the opposite is seen: our disk was set back, or cloned.
4. A node that is away still has what it had; one that was thrown out of the cluster does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from tarsd.calls import Record
from tarsd.memory.log import Head
from tarsd.names import NodeId

Heads = Mapping[str, tuple[int, bytes]]  # as they travel: seq and seal of each origin's last record


class Agreement(msgspec.Struct, frozen=True):
    """How another node's heads lie to ours: how far it has our chains, where it has more, where it has another one."""

    have: dict[str, int]
    ahead: list[str]
    forked: list[str]


class Behind(NamedTuple):
    """The records that a node lacks: how many, and the first of each origin by seq."""

    records: int
    first: dict[str, int]


def to_compare(mine: Mapping[str, Head], theirs: Heads) -> dict[str, int]:
    """Return the seqs whose seals of ours are needed for `agree`, by origin."""
    return {origin: seq for origin, (seq, _) in theirs.items() if 0 < seq < mine.get(origin, Head(0, b"")).seq}


def agree(mine: Mapping[str, Head], theirs: Heads, seals: Mapping[str, bytes], own: str = "") -> Agreement:
    """Compare heads; `seals` are ours at the seqs of `to_compare`, `own` is the origin that we write."""
    found = Agreement({}, [], [])
    for origin, (seq, sha) in theirs.items():
        head = mine.get(origin, Head(0, b""))
        if seq > head.seq:
            found.ahead.append(origin)
            if origin != own:
                found.have[origin] = head.seq
        elif seq > 0 and sha != (head.sha if seq == head.seq else seals.get(origin)):
            found.forked.append(origin)
        else:
            found.have[origin] = seq
    return found


class Holdings:
    """What every other node has, as far as it is known."""

    def __init__(self, known: Mapping[NodeId, Mapping[str, int]] | None = None) -> None:
        self._by_node: dict[NodeId, dict[str, int]] = {node: dict(have) for node, have in (known or {}).items()}

    def told(self, node: NodeId, have: Mapping[str, int]) -> bool:
        """Take what a node says of itself (rule 1); return whether that is news."""
        if self._by_node.get(node) == have:
            return False
        self._by_node[node] = dict(have)
        return True

    def drop(self, node: NodeId) -> None:
        """Count a node no more."""
        self._by_node.pop(node, None)

    def of(self, node: NodeId) -> dict[str, int] | None:
        """Return what a node has; None = it never said."""
        return self._by_node.get(node)

    def nodes(self) -> list[NodeId]:
        """Return who ever said what it has."""
        return list(self._by_node)

    def holders(self, records: Iterable[Record], among: Collection[NodeId] | None = None) -> set[NodeId]:
        """Return the nodes that have all of these records."""
        needed: dict[str, int] = {}
        for record in records:
            needed[record.origin] = max(needed.get(record.origin, 0), record.seq)
        return {
            node
            for node, have in self._by_node.items()
            if (among is None or node in among) and all(have.get(origin, 0) >= seq for origin, seq in needed.items())
        }

    def safe(self, mine: Mapping[str, int], among: Collection[NodeId]) -> dict[str, int]:
        """Return up to which seq of each origin of ours at least one other node has it too."""
        return {
            origin: min(seq, max((self._by_node.get(node, {}).get(origin, 0) for node in among), default=0))
            for origin, seq in mine.items()
        }

    def behind(self, node: NodeId, mine: Mapping[str, int]) -> Behind:
        """Return what a node lacks of ours."""
        have = self._by_node.get(node, {})
        first = {origin: have.get(origin, 0) + 1 for origin, seq in mine.items() if have.get(origin, 0) < seq}
        return Behind(sum(mine[origin] + 1 - seq for origin, seq in first.items()), first)
