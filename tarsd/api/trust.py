"""Throwing a node out, and replacing the authorities: for people with the node's admin token."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from tarsd import errors
from tarsd.api.replies import json_reply, read_json
from tarsd.api.services import SERVICES, TrustLike


class RevokeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/revoke: the node's name or id, and why, for people."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


async def revoke(request: web.Request) -> web.Response:
    """POST /api/revoke {"name": "pc3", "reason": "stolen"}: throw a node out for good; tells who knows by now."""
    body = await read_json(request, RevokeBody)
    return json_reply(await _trust(request).revoke(body.name, body.reason))


async def rotate(request: web.Request) -> web.Response:
    """POST /api/rotate: replace the authorities of all zones, or go on with that where it stopped."""
    return json_reply(await _trust(request).rotate())


async def rotation(request: web.Request) -> web.Response:
    """GET /api/rotate: how far a replacement of authorities is, and who takes part."""
    return json_reply(await _trust(request).rotation())


def _trust(request: web.Request) -> TrustLike:
    trust = request.app[SERVICES].trust
    if trust is None:
        raise errors.Unavailable("this node decides nothing about trust")
    return trust


def routes() -> list[web.RouteDef]:
    """The routes about trust."""
    return [
        web.post("/api/revoke", revoke),
        web.post("/api/rotate", rotate),
        web.get("/api/rotate", rotation),
    ]
