"""GET /v1/models and /v1/models/{name}: every model of the cluster by its name, the assistant first.

Beside OpenAI's own fields `max_model_len` (as vLLM calls it) is how many tokens question and answer may have together,
the least of all nodes that have the model; `tarsd` says what it is for, which nodes and which engines have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from tarsd import calls
from tarsd.api.inference import ASSISTANT, serves
from tarsd.api.replies import ModelUnknown, json_reply
from tarsd.api.services import SERVICES, ApiServices
from tarsd.api.vectors import embedding_models, has_embedding_model
from tarsd.gossip.member import Member
from tarsd.names import Capability


def listed(services: ApiServices) -> list[dict[str, Any]]:
    """Return all models as OpenAI's objects."""
    members = services.members()
    able = [member for member in members if member.routable and calls.CHAT.name in member.capabilities]
    found = [_shape(ASSISTANT, "assistant", able, calls.CHAT.name)]
    found += [
        _shape(name, "chat", [member for member in able if serves(member, name)], calls.CHAT.name)
        for name in services.models()
    ]
    for name in embedding_models(services):
        having = [member for member in members if has_embedding_model(member, name)]
        found.append(_shape(name, "embedding", having, calls.EMBED.name))
    return found


def _shape(name: str, use: str, members: Sequence[Member], capability: Capability) -> dict[str, Any]:
    attributes = [member.capabilities[capability] for member in members]
    lengths = [length for one in attributes if isinstance(length := one.get("context_tokens"), int) and length > 0]
    engines = sorted({str(one["engine"]) for one in attributes if one.get("engine")})
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "tarsd",
        **({"max_model_len": min(lengths)} if lengths else {}),
        "tarsd": {"use": use, "nodes": [member.name for member in members], "engines": engines},
    }


async def models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    return json_reply({"object": "list", "data": listed(request.app[SERVICES])})


async def model(request: web.Request) -> web.Response:
    """GET /v1/models/{name}; a name may have slashes."""
    services, name = request.app[SERVICES], request.match_info["name"]
    known = {shape["id"]: shape for shape in listed(services)}
    if name not in known:
        raise ModelUnknown(f"model: {name!r} is not in the cluster right now; there is {', '.join(known)}")
    return json_reply(known[name])


def routes() -> list[web.RouteDef]:
    """The routes of the models."""
    return [web.get("/v1/models", models), web.get("/v1/models/{name:.+}", model)]
