"""GET /api/openapi.json: the whole HTTP API as an OpenAPI 3.1 document, from the types that handlers use.

Rules
1. What a route takes and gives stands in `openapi_routes`, which scopes open it in `scopes`; this puts it together.
2. Every route may answer with the errors of `ERRORS`; never with 500, which is a fault of ours.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from tarsd import __version__
from tarsd.api import openapi_shapes as shapes
from tarsd.api.error_shapes import MESSAGES_PATH, OLLAMA_PATHS
from tarsd.api.openapi_routes import JSON, ROUTES, Described
from tarsd.api.replies import json_reply
from tarsd.api.scopes import OPEN_PATHS, needs_of
from tarsd.api.services import SERVICES

PATH = "/api/openapi.json"
ERRORS = {
    400: "what was sent is wrong; the error names the field",
    401: "a token is needed, or this one is none",
    403: "not allowed: Host, Origin, or a scope that the token lacks",
    404: "the thing that was named does not exist",
    409: "a newer request has taken this one's place",
    413: "larger than this node takes",
    429: "too much to do, or a limit of the token is reached; Retry-After says when to come again",
    503: "it cannot be done now; Retry-After says when to come again",
    504: "its time ran out",
    507: "the disk of a node failed or is full",
}
_ERRORS = (shapes.OwnErrorReply, shapes.OpenAIErrorReply, shapes.OllamaErrorReply, shapes.AnthropicErrorReply)
_REFERENCE = "#/components/schemas/{name}"


def document(about: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return the document; `about` has each route's words."""
    described = ROUTES
    types = _types(described.values())
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), route in described.items():
        paths.setdefault(path, {})[method.lower()] = _operation(
            method, path, route, schema_of, about.get((method, path), "")
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "tarsd", "version": __version__, "description": "The client API of a node."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _types(described: Iterable[Described]) -> list[Any]:
    found: dict[str, Any] = {}
    for route in described:
        used = [*_each(route.reply), route.body, *route.also.values(), *(one.type for one in route.query.values())]
        found |= {repr(one): one for one in [*used, *_ERRORS] if one is not None}
    return list(found.values())


def _each(reply: Any) -> tuple[Any, ...]:
    return reply if isinstance(reply, tuple) else (reply,)


def _operation(method: str, path: str, route: Described, schema_of: dict[str, Any], about: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": method.lower() + re.sub(r"[^A-Za-z0-9]+", "_", path).rstrip("_"),
        "summary": about.partition("\n")[0],
        "description": about,
        "responses": {str(status): reply for status, reply in sorted(_responses(path, route, schema_of).items())},
    }
    names = re.findall(r"\{(\w+)\}", path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    parameters += [
        {"name": name, "in": "query", "required": one.required, "schema": schema_of[repr(one.type)]}
        for name, one in route.query.items()
    ]
    if parameters:
        found["parameters"] = parameters
    if route.body is not None:
        schema = {} if route.body is bytes else schema_of[repr(route.body)]
        found["requestBody"] = {"required": route.body_required, "content": {route.body_content: {"schema": schema}}}
    if path not in OPEN_PATHS:
        needs = needs_of(path, method)
        scopes = sorted(needs.scopes)
        # on loopback without any, unless it is guarded always
        found["security"] = [{"bearer": scopes}, {"key": scopes}, *([] if needs.always else [{}])]
    return found


def _error_of(path: str) -> Any:
    if path in OLLAMA_PATHS:
        return shapes.OllamaErrorReply
    if path.startswith(MESSAGES_PATH):
        return shapes.AnthropicErrorReply
    return shapes.OpenAIErrorReply if path.startswith("/v1") else shapes.OwnErrorReply


def _responses(path: str, route: Described, schema_of: dict[str, Any]) -> dict[int, Any]:
    error = _error_of(path)
    told: dict[int, Any] = {
        status: {"description": words, "content": {JSON: {"schema": schema_of[repr(error)]}}}
        for status, words in ERRORS.items()
    }
    for status, kind in route.also.items():
        content = {} if kind is None else {JSON: {"schema": schema_of[repr(kind)]}}
        told[status] = {"description": "as the description says", "content": content}
    kinds = [schema_of[repr(one)] for one in _each(route.reply) if one is not None]
    content = {
        kind: {"schema": {"anyOf": kinds} if len(kinds) > 1 else kinds[0]}
        if kind == JSON and route.reply is not None
        else {}
        for kind in route.content
    }
    told[route.status] = {"description": "done", "content": content}
    return told


def words_of(app: web.Application) -> dict[tuple[str, str], str]:
    """Return what each handler says of itself."""
    return {
        (route.method, route.resource.canonical): inspect.getdoc(route.handler) or ""
        for route in app.router.routes()
        if route.resource is not None
    }


async def openapi(request: web.Request) -> web.Response:
    """GET /api/openapi.json: this API for programs."""
    described = document(about=words_of(request.app))
    described["info"]["x-node"] = request.app[SERVICES].node_name
    return json_reply(described)


def routes() -> list[web.RouteDef]:
    """The route of the document."""
    return [web.get(PATH, openapi)]
