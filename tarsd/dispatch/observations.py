"""What this node has seen itself of those it called. Every method takes `now`, on any one clock.

Rules
1. A failure counts until the member serves that capability again; `routing` lets it fade.
2. A rate is kept for each (node, capability): answers per second, or tokens for an answer of `STREAM_ITEMS` and more,
   times the answers that ran there at once: it tells what the node does in all, not how many it is shared by.
   It is forgotten after `RATE_FRESH_S`: else who was slow once would never be asked again.
3. A call is overdue when it waits for its first item longer than 95 of the last 100 did, within bounds; where few were
   seen, at the upper bound.
4. The node that answered a conversation last is its home for `HOME_S`.
5. A call that ended is remembered until no report that still counts it can matter: a place that got free is known at
   once, not with the next datagram.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from tarsd import routing
from tarsd.errors import WireError
from tarsd.gossip.member import Load
from tarsd.names import Capability, ConversationId, NodeId
from tarsd.routing import Seen

STREAM_ITEMS = 8
RATE_FRESH_S = 60.0
HOME_S = 30 * 60.0
MAX_HOMES = 1000
SAMPLES = 100
FEW_SAMPLES = 8
FAST_ENOUGH_S = 0.05  # below it differences are noise, and no reason to go elsewhere
_FORGET_S = routing.STALE_LOAD_S
_NEWEST = 0.3  # how much a new measure counts in an average


class _Record:
    """One capability at one node."""

    __slots__ = ("ended", "failed_at", "opened_at", "rate", "rate_at")

    def __init__(self) -> None:
        self.failed_at: float | None = None
        self.opened_at: list[float] = []
        self.ended: deque[tuple[float, float]] = deque(maxlen=SAMPLES)  # when each began and ended
        self.rate = 0.0
        self.rate_at = 0.0


class Observations:
    """Kept in memory, for as long as the node runs."""

    def __init__(self) -> None:
        self._records: dict[tuple[NodeId, Capability], _Record] = {}
        self._loads: dict[NodeId, tuple[Load, float]] = {}
        self._first_s: dict[Capability, deque[float]] = {}
        self._usual_s: dict[Capability, float] = {}  # 95 % of them, until there is another
        self._homes: OrderedDict[ConversationId, tuple[NodeId, float]] = OrderedDict()

    def load_came(self, node: NodeId, load: bytes, now: float) -> None:
        """Keep the load figure that came with an answer; one that is none is left out."""
        try:
            self._loads[node] = (Load.unpack(load), now)
        except WireError:
            return

    def began(self, node: NodeId, capability: Capability, now: float) -> None:
        """Count an open call."""
        self._record(node, capability).opened_at.append(now)

    def ended(self, node: NodeId, capability: Capability, began: float, now: float) -> None:
        """Count it no more, however it ended (rule 5)."""
        record = self._record(node, capability)
        if began in record.opened_at:
            record.opened_at.remove(began)
            record.ended.append((began, now))

    def first_item(self, capability: Capability, after_s: float) -> None:
        """Note how long a first item took (rule 3)."""
        self._first_s.setdefault(capability, deque(maxlen=SAMPLES)).append(after_s)
        self._usual_s.pop(capability, None)

    def served(
        self,
        node: NodeId,
        capability: Capability,
        items: int,
        first_s: float,
        all_s: float,
        now: float,
        *,
        slots: int = 1,
    ) -> None:
        """Note a call that went well: `items` came, the first after `first_s`, the last after `all_s` (rules 1, 2).

        `slots`: how many the node answers at once. To be told while the call is still open.
        """
        record = self._record(node, capability)
        record.failed_at = None
        if items >= STREAM_ITEMS and all_s > first_s:
            rate = (items - 1) / (all_s - first_s)
            if capability in routing.TEXT:
                rate *= max(1, min(slots, self._at_once(node, record, now)))
        elif capability in routing.TEXT:
            return  # too short to say how fast its tokens come
        else:
            rate = 1 / max(first_s, FAST_ENOUGH_S)
        self._rate(record, rate, now)

    def _at_once(self, node: NodeId, record: _Record, now: float) -> int:
        """Return how many answers are open there, as far as it is known."""
        load, at = self._loads.get(node, (None, 0.0))
        running = load.running if load is not None and now - at <= routing.STALE_LOAD_S else 0
        return max(running, len(record.opened_at))

    def slow(self, node: NodeId, capability: Capability, after_s: float, now: float) -> None:
        """Note that a node had not begun to answer `after_s` after it was asked, and was given up for another one."""
        self.first_item(capability, after_s)
        if capability not in routing.TEXT:
            self._rate(self._record(node, capability), 1 / max(after_s, FAST_ENOUGH_S), now)

    def _rate(self, record: _Record, rate: float, now: float) -> None:
        fresh = record.rate and now - record.rate_at <= RATE_FRESH_S
        record.rate = record.rate + _NEWEST * (rate - record.rate) if fresh else rate
        record.rate_at = now

    def failed(self, node: NodeId, capability: Capability, now: float) -> bool:
        """Note a failure; return whether it is the first since the node last served this (rule 1)."""
        record = self._record(node, capability)
        first, record.failed_at = record.failed_at is None, now
        return first

    def overdue_s(self, capability: Capability, least_s: float, most_s: float) -> float:
        """Return after what time a first item is overdue (rule 3)."""
        seen = self._first_s.get(capability)
        if seen is None or len(seen) < FEW_SAMPLES:
            return most_s
        usual_s = self._usual_s.get(capability)
        if usual_s is None:
            usual_s = self._usual_s[capability] = sorted(seen)[int(len(seen) * 0.95)]
        return min(max(usual_s, least_s), most_s)

    def answered(self, conversation: ConversationId, node: NodeId, now: float) -> None:
        """Note who has a conversation's prefix in its cache (rule 4)."""
        self._homes[conversation] = (node, now)
        self._homes.move_to_end(conversation)
        while len(self._homes) > MAX_HOMES:
            self._homes.popitem(last=False)

    def home(self, conversation: ConversationId, now: float) -> NodeId | None:
        """Return the conversation's home, None for an unknown or old one."""
        node, at = self._homes.get(conversation, (None, 0.0))
        return node if now - at <= HOME_S else None

    def seen(self, nodes: Iterable[NodeId], capability: Capability, now: float) -> dict[NodeId, Seen]:
        """Return what is known of `nodes`, for `routing.rank`."""
        return {node: self._seen(node, capability, now) for node in nodes}

    def _seen(self, node: NodeId, capability: Capability, now: float) -> Seen:
        record = self._records.get((node, capability))
        load, at = self._loads.get(node, (None, 0.0))
        if record is None:
            return Seen(load=load, load_age_s=now - at)
        return Seen(
            failed_s=None if record.failed_at is None else now - record.failed_at,
            open_s=tuple(now - at for at in record.opened_at),
            ended_s=tuple((now - began, now - ended) for began, ended in record.ended if now - ended <= _FORGET_S),
            rate=record.rate if now - record.rate_at <= RATE_FRESH_S else 0.0,
            load=load,
            load_age_s=now - at,
        )

    def _record(self, node: NodeId, capability: Capability) -> _Record:
        key = (node, capability)
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record()
        return record
