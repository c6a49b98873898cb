"""Many questions at once over nodes that answer several at a time, in pure code: `routing` decides, no clock runs.

Rules
1. A node with n answers shares what it does in all, which grows from `alone` to `together` as its slots fill.
2. The host ranks as `Dispatch` does: its own calls count at once, its reports of the others are `REPORT_S` old.
3. A place that gets free is offered to the call that was asked first of those that wait at another node and would be
   answered sooner here. By then the host has measured both.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from tarsd import routing
from tarsd.gossip.member import Load, Member
from tarsd.names import NodeId, TraceId
from tarsd.routing import Seen
from tests.test_routing import CHAT, member

REPORT_S = 0.5
TOKENS = 64
JITTER = 0.05
Known = Literal["measured", "of late", "nothing"]


@dataclass
class Node:
    """A node of the model; `left` are the tokens that each of its calls still needs, in the order they were asked."""

    node: NodeId
    alone: float
    together: float
    slots: int = 4
    claims: float = 1.0  # what it says of its speed is so much more than it has
    left: dict[int, float] = field(default_factory=dict)

    @property
    def running(self) -> list[int]:
        """The calls that are being answered; the others wait."""
        return list(self.left)[: self.slots]

    @property
    def each(self) -> float:
        """Tokens per second of each of them (rule 1)."""
        return routing.Speed(self.alone, self.together, self.slots).at(len(self.running)) / max(1, len(self.running))

    @property
    def next_s(self) -> float:
        """When the next of its answers ends."""
        return min((self.left[call] for call in self.running), default=float("inf")) / self.each

    def run(self, for_s: float) -> None:
        """Generate."""
        done = for_s * self.each
        for call in self.running:
            self.left[call] -= done

    def ended(self) -> list[int]:
        """Return the calls that are answered, and forget them."""
        done = [call for call, left in self.left.items() if left <= 1e-9]
        for call in done:
            del self.left[call]
        return done

    def seen_as(self, known: Known, host: NodeId | None) -> Member:
        """Return it as the host sees it, idle before the burst."""
        speeds: dict[str, float] = {"slots": self.slots}
        if known == "measured":
            speeds |= {"speed": self.alone * self.claims, "together": self.together * self.claims}
        load = Load(slots=self.slots, tokens_per_s=self.alone if known == "of late" else 0.0)
        return member(
            self.node,
            node=self.node,
            capabilities={CHAT: speeds},
            load=load,
            load_age_s=REPORT_S,
            is_self=self.node == host,
        )


def lengths(count: int, seed: int) -> list[float]:
    """Return how many tokens each answer has: not all the same."""
    rng = random.Random(seed)
    return [TOKENS * rng.uniform(1 - JITTER, 1 + JITTER) for _ in range(count)]


def alone_s(node: Node, count: int, seed: int) -> float:
    """Return how long one node takes for all of it."""
    node.left = dict(enumerate(lengths(count, seed)))
    return _until_done([node], moves=False)


def best_s(nodes: list[Node], count: int, seed: int) -> float:
    """Return how long two nodes take with the best share for each that there is."""
    return min(_shared_s(nodes, lengths(count, seed), share) for share in range(count + 1))


def burst_s(
    nodes: list[Node], count: int, *, host: NodeId | None, known: Known, seed: int, moves: bool = True
) -> float:
    """Return how long it takes until the last of `count` questions is answered that arrive at `host` at once."""
    members = [node.seen_as(known, host) for node in nodes]
    by_name = {node.node: node for node in nodes}
    for call, tokens in enumerate(lengths(count, seed)):
        seen = {node.node: Seen(open_s=(0.0,) * len(node.left)) for node in nodes}
        first = routing.rank(members, CHAT, trace=TraceId(f"{seed}-{call}"), seen=seen)[0]
        by_name[first.node].left[call] = tokens
    return _until_done(nodes, moves=moves)


def _shared_s(nodes: list[Node], tokens: list[float], share: int) -> float:
    first, second = nodes
    first.left, second.left = dict(enumerate(tokens[:share])), dict(enumerate(tokens[share:]))
    return _until_done(nodes, moves=False)


def _until_done(nodes: list[Node], *, moves: bool) -> float:
    took_s = 0.0
    while any(node.left for node in nodes):
        step_s = min(node.next_s for node in nodes)
        took_s += step_s
        for node in nodes:
            node.run(step_s)
        ended = [node for node in nodes for _ in node.ended()]
        for node in ended if moves else []:
            _take_waiting(node, nodes)
    return took_s


def _take_waiting(free: Node, nodes: list[Node]) -> None:
    """Rule 3."""
    members = {node.node: node.seen_as("measured", None) for node in nodes}
    seen = {node.node: Seen(open_s=(9.0,) * len(node.left), rate=node.together) for node in nodes}
    if not routing.is_free(members[free.node], seen[free.node]):
        return
    waiting = [(call, node) for node in nodes if node is not free for call in list(node.left)[node.slots :]]
    for call, node in sorted(waiting, key=lambda pair: pair[0]):
        place = list(node.left).index(call) - node.slots + 1
        if routing.is_sooner(members[free.node], members[node.node], place, CHAT, seen):
            free.left[call] = node.left.pop(call)
            return
