"""Watching and running a cluster: members, status, nightly jobs, invitations, metrics, health.

GET /api/members?watch=1 is a stream of what happens, see `happenings`.
GET /api/status is this node's own account; ?cluster=1 asks every member that is alive, each with its own deadline, and
tells for those that did not answer why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from aiohttp import web

from tarsd import calls, errors
from tarsd.api.happenings import HAPPENINGS, Happening
from tarsd.api.replies import json_reply, ndjson, only_item, read_json, send
from tarsd.api.services import SERVICES, ApiServices
from tarsd.gossip.member import Member, State
from tarsd.names import NodeId, Zone

STATUS_S = 3.0
MAX_INVITE_S = 30 * 24 * 3600.0


class InviteRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/invite."""

    zone: Zone = Zone.CORE
    expires_s: Annotated[float, msgspec.Meta(ge=60, le=MAX_INVITE_S)] = 3600.0


class NightlyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/nightly; no jobs means all of them."""

    jobs: Annotated[list[str], msgspec.Meta(max_length=32)] = []


class ClusterEntry(msgspec.Struct, frozen=True):
    """One member in the status of a cluster: its own account, or why there is none."""

    name: str
    state: str
    status: calls.StatusItem | None = None
    error: str = ""


def member_view(member: Member) -> dict[str, Any]:
    """Return a member as JSON tells it; addresses as host:port."""
    view: dict[str, Any] = msgspec.to_builtins(member)
    view["addresses"] = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in member.addresses]
    return view


def _members_body(services: ApiServices, members: Iterable[Member]) -> dict[str, Any]:
    found = sorted(members, key=lambda member: (not member.is_self, member.name))
    return {"node": services.node_name, "members": [member_view(member) for member in found]}


async def members(request: web.Request) -> web.StreamResponse:
    """GET /api/members[?watch=1]: this node first. With watch, a line of JSON whenever something changed."""
    services = request.app[SERVICES]
    if request.query.get("watch", "") in ("", "0"):
        return json_reply(_members_body(services, services.members()))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    async with aclosing(request.app[HAPPENINGS].watch()) as stream:
        async for found, told in stream:
            if not response.prepared:
                await response.prepare(request)
            await send(response, _watched(services, found, told))
    if not response.prepared:
        raise errors.Unavailable("this node is stopping")
    await response.write_eof()
    return response


def _watched(services: ApiServices, found: Iterable[Member], told: list[Happening]) -> bytes:
    return msgspec.json.encode(_members_body(services, found) | {"at": time.time(), "happenings": told}) + b"\n"


async def status(request: web.Request) -> web.Response:
    """GET /api/status[?cluster=1]."""
    services = request.app[SERVICES]
    known = services.members()
    if request.query.get("cluster", "") not in ("", "0"):
        members_in_order = sorted(known, key=lambda member: member.name)
        entries = await asyncio.gather(*(_entry(services, member) for member in members_in_order))
        return json_reply({"node": services.node_name, "nodes": entries})
    own = next((member.node for member in known if member.is_self), None)
    return json_reply(await _status_of(services, own))


async def _entry(services: ApiServices, member: Member) -> ClusterEntry:
    if member.state not in (State.ALIVE, State.SUSPECT):
        return ClusterEntry(member.name, member.state, error=member.reason or member.state)
    try:
        return ClusterEntry(member.name, member.state, await _status_of(services, member.node))
    except errors.TarsdError as error:
        return ClusterEntry(member.name, member.state, error=str(error))


async def _status_of(services: ApiServices, node: NodeId | None) -> calls.StatusItem:
    call = services.dispatch.call(calls.STATUS, calls.StatusRequest(), deadline_s=STATUS_S, only=node)
    return await only_item(call, "status")


async def nightly(request: web.Request) -> web.StreamResponse:
    """POST /api/nightly {"jobs": [...]}: a stream of `NightlyItem`, one a line."""
    body = await read_json(request, NightlyBody) if request.can_read_body else NightlyBody()
    services = request.app[SERVICES]
    wanted = calls.NightlyRequest(list(body.jobs))
    # the jobs tidy the node they run on: this one, where it can
    own = next((m.node for m in services.members() if m.is_self and calls.NIGHTLY.name in m.capabilities), None)
    call = services.dispatch.call(calls.NIGHTLY, wanted, only=own)
    return await ndjson(request, call)


async def invite(request: web.Request) -> web.Response:
    """POST /api/invite {"zone": "core", "expires_s": 3600}."""
    body = await read_json(request, InviteRequest) if request.can_read_body else InviteRequest()
    token = await request.app[SERVICES].invite(body.zone, body.expires_s)
    return json_reply({"token": token, "zone": body.zone, "expires_s": body.expires_s})


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text."""
    text = request.app[SERVICES].metrics_text()
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def health(request: web.Request) -> web.Response:
    """GET /healthz: 200 while the node is healthy, else 503 with the reasons."""
    services = request.app[SERVICES]
    problems = services.problems()
    body = {"healthy": not problems, "node": services.node_name, "version": services.version, "problems": problems}
    return json_reply(body, status=503 if problems else 200)


def routes() -> list[web.RouteDef]:
    """The routes for watching and running."""
    return [
        web.get("/api/members", members),
        web.get("/api/status", status),
        web.post("/api/nightly", nightly),
        web.post("/api/invite", invite),
        web.get("/metrics", metrics),
        web.get("/healthz", health),
    ]
