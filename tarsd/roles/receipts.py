"""Reads the receipts of forgetting as they stand now, for who asks; who is shown what is decided in planning."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

from tarsd.calls import ForgetItem, ReceiptRequest, Removed
from tarsd.errors import InvalidInput, NotFound
from tarsd.gossip.member import Member
from tarsd.memory.bodies import ObeyedBody, ReceiptBody, ReceiptPartBody, receipt_key
from tarsd.memory.store import Store
from tarsd.names import NodeId
from tarsd.planning.receipts import keys_of, removed_of, shown_to
from tarsd.rpc import CallContext

MAX_RECEIPTS = 500


class Receipts:
    """The handler of `receipts`."""

    def __init__(self, store: Store, members: Callable[[], Mapping[NodeId, Member]]) -> None:
        self._store = store
        self._members = members

    async def shown(self, request: ReceiptRequest, context: CallContext) -> AsyncGenerator[ForgetItem, None]:
        """Serve `receipts`."""
        if not 0 < request.limit <= MAX_RECEIPTS:
            raise InvalidInput(f"limit: {request.limit}, allowed is 1 to {MAX_RECEIPTS}")
        receipts: list[ReceiptBody] = []
        parts: dict[str, list[ReceiptPartBody]] = {}
        said: dict[str, dict[str, Removed]] = {}
        for body in await self._store.bodies_below("receipt"):
            match body:
                case ReceiptBody() if request.receipt in ("", body.id):
                    receipts.append(body)
                case ReceiptPartBody():
                    parts.setdefault(body.receipt, []).append(body)
                case ObeyedBody():
                    said.setdefault(body.receipt, {})[body.node] = removed_of(body)
        members, room = self._members(), request.limit
        for each in sorted(receipts, key=lambda each: -each.at):
            item = shown_to(request.who, each, parts.get(each.id, ()), said.get(each.id, {}), members)
            if item is not None and room > 0:
                room -= 1
                yield item
        if request.receipt and room == request.limit:
            raise NotFound(f"receipt: there is none with the id {request.receipt[:80]!r}")


async def all_keys(store: Store, receipt: ReceiptBody) -> list[str]:
    """Return all keys of a receipt, those of its parts too."""
    below = await store.bodies_below(receipt_key(receipt.id)) if receipt.parts else []
    return keys_of(receipt, [body for body in below if isinstance(body, ReceiptPartBody)])
