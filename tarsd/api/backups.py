"""Backups: for people with the node's admin token."""

from __future__ import annotations

from aiohttp import web

from tarsd import errors
from tarsd.api.replies import json_reply
from tarsd.api.services import SERVICES


async def backup(request: web.Request) -> web.Response:
    """POST /api/backup: write a backup of this node's records into its data folder; tells the file and what is in it.

    It is verified when it is restored: `tarsd restore FILE`, while the node is stopped.
    """
    make = request.app[SERVICES].backup
    if make is None:
        raise errors.Unavailable("this node keeps no records of its own: ask a core node")
    return json_reply(await make())


def routes() -> list[web.RouteDef]:
    """The route."""
    return [web.post("/api/backup", backup)]
