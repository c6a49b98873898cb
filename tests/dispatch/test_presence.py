"""Which connections are kept, rule by rule, with a scripted client."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from tarsd.dispatch.presence import FIRST_PAUSE_S, MOST, USE_EVERY_S, Presence, nearest
from tarsd.errors import PeerLost
from tarsd.gossip.member import Member, State
from tarsd.names import NodeId
from tests.test_routing import member


class ScriptedConnector:
    def __init__(self) -> None:
        self.kept: list[NodeId] = []
        self.open: dict[NodeId, int] = {}
        self.refuses = False

    async def keep(self, addresses: Sequence[tuple[str, int]], node: NodeId) -> None:
        self.kept.append(node)
        if self.refuses:
            raise PeerLost("gone")
        self.open[node] = 1

    def connections_to(self, node: NodeId) -> int:
        return self.open.get(node, 0)


async def look(presence: Presence, now: float) -> None:
    presence.look(now)
    while presence._trying:
        await asyncio.gather(*presence._trying.values())
        await asyncio.sleep(0)


def built(*members: Member) -> tuple[Presence, ScriptedConnector, float]:
    connector = ScriptedConnector()
    presence = Presence(connector, lambda: members, NodeId("m" * 8))
    return presence, connector, asyncio.get_running_loop().time()


async def test_every_peer_that_may_get_work_has_a_connection() -> None:
    presence, connector, now = built(
        member("a"), member("b", state=State.SUSPECT), member("m", is_self=True), member("z")
    )
    await look(presence, now)
    assert set(connector.kept) == {member("a").node, member("z").node}


async def test_it_is_used_again_before_the_pool_gives_it_up() -> None:
    presence, connector, now = built(member("a"))
    await look(presence, now)
    await look(presence, now + USE_EVERY_S / 2)
    assert len(connector.kept) == 1
    await look(presence, now + USE_EVERY_S + 1)
    assert len(connector.kept) == 2


async def test_a_lost_one_is_made_anew_at_once() -> None:
    presence, connector, now = built(member("a"))
    await look(presence, now)
    connector.open.clear()
    await look(presence, now + 0.5)
    assert len(connector.kept) == 2


async def test_a_peer_that_cannot_be_reached_is_tried_after_growing_pauses() -> None:
    presence, connector, now = built(member("a"))
    connector.refuses = True
    tried_at = []
    for step in range(160):
        before = len(connector.kept)
        presence.look(now + step * 0.5)
        if presence._trying:
            (task,) = presence._trying.values()
            await task
            presence._due_s[member("a").node] += step * 0.5  # the loop's clock stands still here
        if len(connector.kept) > before:
            tried_at.append(step * 0.5)
    pauses = [later - earlier for earlier, later in pairwise(tried_at)]
    assert pauses[0] <= 2 * FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] >= USE_EVERY_S


async def test_in_a_large_cluster_each_node_watches_those_that_follow_it() -> None:
    members = [member(f"{n:03d}") for n in range(40)]
    chosen = nearest(members, members[30].node)
    assert len(chosen) == MOST
    assert chosen[0].name == "030"
    assert {m.name for m in chosen} == {f"{n % 40:03d}" for n in range(30, 46)}
