"""GET /api: what this API offers, as JSON a person can read and a program can list."""

from __future__ import annotations

import inspect
from typing import Any

from aiohttp import web

from tarsd.api import (
    anthropic_messages,
    backups,
    diary,
    documents,
    memories,
    memory_moving,
    memory_status,
    models,
    ollama,
    openai_routes,
    page_files,
    projects,
    trust,
    watching,
    ws,
)
from tarsd.api.replies import json_reply
from tarsd.api.services import SERVICES

# All that have routes beside this one.
MODULES = (
    ws,
    openai_routes,
    ollama,
    anthropic_messages,
    documents,
    watching,
    memory_status,
    backups,
    memories,
    projects,
    memory_moving,
    diary,
    trust,
    models,
    page_files,
)


def entries() -> list[dict[str, str]]:
    """Return each route with its handler's own words."""
    listed: list[dict[str, str]] = []
    for module in MODULES:
        for route in module.routes():
            about = inspect.getdoc(route.handler) or ""
            listed.append({"method": route.method, "path": route.path, "about": about})
    return listed


async def manual(request: web.Request) -> web.Response:
    """GET /api: this list."""
    services = request.app[SERVICES]
    body: dict[str, Any] = {
        "node": services.node_name,
        "version": services.version,
        "routes": [*entries(), {"method": "GET", "path": "/api", "about": inspect.getdoc(manual)}],
        "openapi": "/api/openapi.json",
        "websocket": inspect.getdoc(ws),
        "completions": inspect.getdoc(openai_routes),
        "documents": inspect.getdoc(documents),
        "memories": inspect.getdoc(memories),
    }
    return json_reply(body)


def routes() -> list[web.RouteDef]:
    """The route of this list."""
    return [web.get("/api", manual)]
