"""What a receipt of forgetting says: which nodes have obeyed, which have not, and why. Pure.

Rules
1. Every core node that was known when it was written is named, and every other one that found something to remove.
2. It is whole when all of these have said, each for itself, that nothing is left there.
3. One that was thrown out of the cluster is named too: what is on its disk stays there, and nobody can tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tarsd.calls import ForgetItem, Removed
from tarsd.gossip.member import Member, State
from tarsd.memory.bodies import ObeyedBody, ReceiptBody
from tarsd.names import NodeId, Zone

REVOKED = "it was thrown out of the cluster and cannot be told: what is on its disk stays there"
AWAY = "it is away, and obeys when it returns"
NOT_YET = "it has not said so yet"


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


def receipt_item(
    receipt: ReceiptBody,
    said: Mapping[str, Removed],
    members: Mapping[NodeId, Member],
) -> ForgetItem:
    """Return the receipt as it stands now; `said` is what nodes say to it, by their ids."""
    silent = {
        node: still_to_obey(name, members.get(NodeId(node))) for node, name in receipt.nodes.items() if node not in said
    }
    nodes = sorted([*said.values(), *silent.values()], key=lambda removed: removed.node)
    return ForgetItem(receipt.id, receipt.keys, nodes, receipt.at, all(each.state == "done" for each in nodes))
