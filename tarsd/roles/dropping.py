"""Always on: drops a conversation wherever this node knows of it: in its roles, and where it is the person's host.

What is on disk of a conversation goes by `forget`; this is the RAM of one node, so whoever forgets asks every node.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from tarsd import calls
from tarsd.calls import DropConversationItem, DropConversationRequest, Who
from tarsd.names import Capability, ConversationId
from tarsd.roles.base import Attributes, Role
from tarsd.rpc import CallContext, Handler

Drop = Callable[[ConversationId, Who | None], bool]


class Dropping(Role):
    """Offers `drop_conversation`; `drops` are all that keep something of conversations."""

    name = "dropping"

    def __init__(self, drops: Sequence[Drop]) -> None:
        self._drops = drops

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {calls.DROP_CONVERSATION.name: self._drop}

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {calls.DROP_CONVERSATION.name: {}}

    async def _drop(
        self, request: DropConversationRequest, context: CallContext
    ) -> AsyncGenerator[DropConversationItem, None]:
        dropped = [drop(request.conversation, request.who) for drop in self._drops]
        yield DropConversationItem(any(dropped))
