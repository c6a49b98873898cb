"""A node's services for roles under test: a real store, scripted peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tarsd.calls import Headers
from tarsd.config import Config, Node
from tarsd.dispatch import Dispatch
from tarsd.gossip.member import Member
from tarsd.memory.store import Store
from tarsd.names import NodeId, TraceId
from tarsd.roles.base import Services
from tarsd.rpc import CallContext
from tests.dispatch.test_dispatch import ScriptedMembership

ME = NodeId("m" * 32)
SERVED = CallContext(caller=None, headers=Headers(deadline_s=10, hops=1, trace=TraceId("t")))
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def services(store: Store, client: Any, members: Sequence[Member], **node: Any) -> Services:
    membership = ScriptedMembership(*members)
    return Services(
        config=Config(node=Node(**node)),
        identity=SimpleNamespace(node_id=ME, name="m"),  # type: ignore[arg-type]
        store=store,
        dispatch=Dispatch(membership, client, {}),
        members=membership.members,
    )


async def one(handler: Callable[..., Any], request: Any) -> Any:
    """Return the single item of a handler."""
    items = [item async for item in handler(request, SERVED)]
    assert len(items) == 1
    return items[0]
