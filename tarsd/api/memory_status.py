"""How the copies of the records stand, on every core node.

GET /api/memory/status asks each of them that is there, with a deadline of its own; of one that cannot be asked it says
why. What a node that is away has, the others still know: it is in their own accounts, under `others`.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from tarsd import calls, errors
from tarsd.api.replies import json_reply, only_item
from tarsd.api.services import SERVICES, ApiServices
from tarsd.gossip.member import Member, State
from tarsd.names import NodeName, Zone

ASK_S = 5.0


class NodeMemory(msgspec.Struct):
    """One core node: its own account, or why there is none."""

    name: NodeName
    state: State
    status: calls.MemoryStatusItem | None = None
    error: str = ""


class MemoryStatusReply(msgspec.Struct):
    """Every core node's account; `node` is the one that answers, and stands first."""

    node: str
    nodes: list[NodeMemory]


async def memory_status(request: web.Request) -> web.Response:
    """GET /api/memory/status."""
    services = request.app[SERVICES]
    found = [member for member in services.members() if member.zone is not Zone.LAB]
    in_order = sorted(found, key=lambda member: (not member.is_self, member.name))
    nodes = await asyncio.gather(*(_of(services, member) for member in in_order))
    return json_reply(MemoryStatusReply(services.node_name, list(nodes)))


async def _of(services: ApiServices, member: Member) -> NodeMemory:
    if member.state not in (State.ALIVE, State.SUSPECT):
        return NodeMemory(member.name, member.state, error=member.reason or member.state)
    call = services.dispatch.call(calls.MEMORY_STATUS, calls.MemoryStatusRequest(), deadline_s=ASK_S, only=member.node)
    try:
        return NodeMemory(member.name, member.state, await only_item(call, "memory_status"))
    except errors.TarsdError as error:
        return NodeMemory(member.name, member.state, error=str(error))


def routes() -> list[web.RouteDef]:
    """The route."""
    return [web.get("/api/memory/status", memory_status)]
