"""What a receipt of forgetting says: which nodes have obeyed, which have not, and why. Pure.

Rules
1. Every core node that was known when it was written is named, and every other one that found something to remove.
2. It is whole when all of these have said, each for itself, that nothing is left there.
3. One that was thrown out of the cluster is named too: what is on its disk stays there, and nobody can tell it.
4. Who forgot it, and an administrator, are shown all of it. Everybody else is shown the keys of what that person could
   see, as things stood when it was forgotten, without figures: how much of whose went along is nobody else's.
5. However much was forgotten at once, it is one receipt: what does not fit one record is in parts before it. Of very
   many keys the first are listed, and the others counted: a reply has a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from tarsd.calls import ForgetItem, Removed, Who
from tarsd.gossip.member import Member, State
from tarsd.memory.bodies import ObeyedBody, ReceiptBody, ReceiptPartBody
from tarsd.names import NodeId, Zone

REVOKED = "it was thrown out of the cluster and cannot be told: what is on its disk stays there"
AWAY = "it is away, and obeys when it returns"
NOT_YET = "it has not said so yet"
MAX_PART_BYTES = 512 * 1024  # of keys in a record: it may have twice as much
MAX_LISTED = 5000

Audience = frozenset[str] | None  # persons; None = everybody


def nodes_to_obey(members: Iterable[Member], origins: Iterable[str]) -> dict[str, str]:
    """Return the core nodes ever heard of, names by id: those of gossip, and those whose records are here.

    A lab node keeps no records; one whose certificate was never seen may be either, so it is named.
    """
    members = list(members)
    lab = {member.node for member in members if member.zone is Zone.LAB}
    wrote = {node: node[:8] for node in (origin.partition(".")[0] for origin in origins) if node not in lab}
    return wrote | {member.node: member.name for member in members if member.node not in lab}


def removed_of(obeyed: ObeyedBody) -> Removed:
    """Return what one node says."""
    return Removed(
        node=obeyed.name,
        state="done",
        records=obeyed.records,
        vectors=obeyed.vectors,
        keywords=obeyed.keywords,
        cached=obeyed.cached,
        conversations=obeyed.conversations,
        backups=obeyed.backups,
        damaged_copies=obeyed.damaged_copies,
        at=obeyed.at,
    )


def still_to_obey(name: str, member: Member | None, reason: str = "") -> Removed:
    """Return what is said of a node that has not obeyed; `reason`: what it said itself."""
    if member is not None and member.state is State.REVOKED:
        return Removed(name, "failed", reason=REVOKED)
    if reason:
        return Removed(name, "pending", reason=reason)
    return Removed(name, "pending", reason=NOT_YET if member is not None and member.state is State.ALIVE else AWAY)


def with_keys(receipt: ReceiptBody, keys: Mapping[str, Audience]) -> tuple[ReceiptBody, list[ReceiptPartBody]]:
    """Return a receipt with keys, and its parts, which are written first; `keys` with who could see what lay there."""
    pieces: list[tuple[Audience, list[str]]] = []
    for audience in dict.fromkeys(keys.values()):
        room = 0
        for key, seen_by in keys.items():
            if seen_by != audience:
                continue
            room -= len(key.encode())
            if room < 0:
                pieces.append((audience, []))
                room = MAX_PART_BYTES - len(key.encode())
            pieces[-1][1].append(key)
    (audience, first), *others = pieces or [(frozenset[str](), list[str]())]
    parts = [
        ReceiptPartBody(receipt.id, number, found, sorted(seen_by or ()), everybody=seen_by is None)
        for number, (seen_by, found) in enumerate(others, 1)
    ]
    seen = {"persons": sorted(audience or ()), "everybody": audience is None}
    return replace(receipt, keys=first, parts=len(parts), **seen), parts


def keys_of(receipt: ReceiptBody, parts: Iterable[ReceiptPartBody]) -> list[str]:
    """Return all keys of a receipt."""
    return [*receipt.keys, *(key for part in parts for key in part.keys)]


def shown_to(
    who: Who,
    receipt: ReceiptBody,
    parts: Sequence[ReceiptPartBody],
    said: Mapping[str, Removed],
    members: Mapping[NodeId, Member],
) -> ForgetItem | None:
    """Return the receipt as it stands now for a person, None where nothing in it is that person's (rule 4)."""
    if who.sees_all or receipt.person == who.person:
        return receipt_item(receipt, parts, said, members)
    whole: list[ReceiptBody | ReceiptPartBody] = [receipt, *parts]
    own = [each for each in whole if each.everybody or who.person in each.persons]
    keys = [key for each in own for key in each.keys]
    if not keys:
        return None
    item = receipt_item(replace(receipt, keys=keys), (), said, members)
    return replace(item, nodes=[Removed(each.node, each.state, reason=each.reason, at=each.at) for each in item.nodes])


def receipt_item(
    receipt: ReceiptBody,
    parts: Iterable[ReceiptPartBody],
    said: Mapping[str, Removed],
    members: Mapping[NodeId, Member],
) -> ForgetItem:
    """Return the receipt as it stands now; `said` is what nodes say to it, by their ids."""
    silent = {
        node: still_to_obey(name, members.get(NodeId(node))) for node, name in receipt.nodes.items() if node not in said
    }
    nodes = sorted([*said.values(), *silent.values()], key=lambda removed: removed.node)
    return listing(receipt.id, keys_of(receipt, parts), nodes, receipt.at)


def listing(receipt: str, keys: Sequence[str], nodes: list[Removed], at: float = 0.0) -> ForgetItem:
    """Return a receipt of so many keys as fit (rule 5)."""
    is_whole = bool(receipt) and all(each.state == "done" for each in nodes)
    return ForgetItem(receipt, list(keys[:MAX_LISTED]), nodes, at, is_whole, max(0, len(keys) - MAX_LISTED))
