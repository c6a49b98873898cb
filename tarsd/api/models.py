"""The models of the cluster over HTTP: which there are, taking one in, removing one, measuring.

    GET    /api/models                                 each node's models, with how fast they are
    POST   /api/pull     {"model": "NAME or hf:…"}     NDJSON of {"status", "digest", "total", "completed"}
    DELETE /api/delete   {"model": "NAME"}
    POST   /api/measure  {"models": [], "quick": true} NDJSON of {"doing"}, {"speed"}, {"failed"}

Pull and delete are in Ollama's shapes; `node` beside theirs names the PC that is to do it (default: the one asked).
All but the first need the admin token. A pull goes on when its reader leaves: asked for again, it is followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from tarsd import calls, errors
from tarsd.api.replies import FieldError, json_reply, ndjson, only_item, read_json
from tarsd.api.services import SERVICES, ApiServices
from tarsd.gossip.member import Member
from tarsd.names import Capability

ModelText = Annotated[str, Meta(max_length=400)]
NodeText = Annotated[str, Meta(max_length=64)]


class PullBody(msgspec.Struct, frozen=True):
    """The body of POST /api/pull; `name` is Ollama's older word for `model`. `sha256`: what the file must be."""

    model: ModelText = ""
    name: ModelText = ""
    stream: bool = True
    node: NodeText = ""
    sha256: Annotated[str, Meta(max_length=64)] = ""


class DeleteBody(msgspec.Struct, frozen=True):
    """The body of DELETE /api/delete."""

    model: ModelText = ""
    name: ModelText = ""
    node: NodeText = ""


class MeasureBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/measure; no models = every engine that is configured there."""

    models: Annotated[list[ModelText], Meta(max_length=64)] = []
    quick: bool = False
    node: NodeText = ""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a pull, as Ollama tells it; `origin` is the PC or host that it comes from."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
    origin: str = ""
    reason: str = ""


# Ollama's client takes no empty line for a sign of life.
_QUIET = b'{"status": "pulling manifest"}'


async def models(request: web.Request) -> web.Response:
    """GET /api/models: the models of every node, each with its node; what did not answer is in `unreachable`."""
    services = request.app[SERVICES]
    able = [member for member in services.members() if member.routable and calls.MODELS.name in member.capabilities]
    answers = await asyncio.gather(*(_models_of(services, member) for member in able))
    found = [
        {"node": member.name, **_plain(model)} for member, told in zip(able, answers, strict=True) for model in told[0]
    ]
    lost = {member.name: told[1] for member, told in zip(able, answers, strict=True) if told[1]}
    return json_reply({"models": found, "unreachable": lost})


async def _models_of(services: ApiServices, member: Member) -> tuple[list[calls.Model], str]:
    try:
        call = services.dispatch.call(calls.MODELS, calls.ModelsRequest(), only=member.node)
        return (await only_item(call, "models")).models, ""
    except errors.TarsdError as error:
        return [], str(error)


async def pull(request: web.Request) -> web.StreamResponse:
    """POST /api/pull {"model": "hf:owner/repository/file.gguf", "node": "pc2"}: take a model in, with its progress."""
    services = request.app[SERVICES]
    body = await read_json(request, PullBody)
    wanted = body.model or body.name
    if not wanted:
        raise FieldError("model", "which one?")
    member = _who(services, body.node, calls.PULL.name)
    call = services.dispatch.call(calls.PULL, calls.PullRequest(wanted, sha256=body.sha256), only=member.node)
    lines = _lines(call)
    if body.stream:
        return await ndjson(request, lines, _QUIET)
    last = Progress("pulling")
    async with aclosing(lines):
        async for line in lines:
            last = line
    return json_reply(last)


async def _lines(items: Any) -> AsyncGenerator[Progress, None]:
    """Yield a pull as Ollama tells it; raises `Unavailable` where it failed."""
    async with aclosing(items):
        async for item in items:
            digest = f"sha256:{item.sha256}" if item.sha256 else ""
            match item.stage:
                case "failed":
                    raise errors.Unavailable(item.reason)
                case "done":
                    yield Progress("success", digest, item.total_bytes, item.total_bytes, item.origin)
                case "fetching":
                    yield Progress(f"pulling {item.name}", digest, item.total_bytes, item.done_bytes, item.origin)
                case "verifying":
                    yield Progress("verifying sha256 digest", digest, item.total_bytes, item.done_bytes, item.origin)
                case _:
                    yield Progress("pulling manifest", origin=item.origin, reason=item.reason)


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/delete {"model": "NAME", "node": "pc2"}: unload a model and delete its file, if tarsd fetched it."""
    services = request.app[SERVICES]
    body = await read_json(request, DeleteBody)
    wanted = body.model or body.name
    if not wanted:
        raise FieldError("model", "which one?")
    member = _who(services, body.node, calls.REMOVE_MODEL.name)
    call = services.dispatch.call(calls.REMOVE_MODEL, calls.RemoveModelRequest(wanted), only=member.node)
    done = await only_item(call, "remove_model")
    return json_reply({"status": "success", "freed_bytes": done.freed_bytes, "detail": done.detail})


async def measure(request: web.Request) -> web.StreamResponse:
    """POST /api/measure {"models": [], "quick": true, "node": "pc2"}: how fast a node's models are, really run."""
    services = request.app[SERVICES]
    body = await read_json(request, MeasureBody)
    member = _who(services, body.node, calls.MEASURE.name)
    asked = calls.MeasureRequest(body.models, body.quick)
    return await ndjson(request, services.dispatch.call(calls.MEASURE, asked, only=member.node))


def _who(services: ApiServices, name: str, capability: Capability) -> Member:
    """Return the node of that name, or this one; raises `NotFound` and `Unavailable` with who could do it."""
    members = [member for member in services.members() if (member.name == name if name else member.is_self)]
    able = (
        ", ".join(sorted(m.name for m in services.members() if m.routable and capability in m.capabilities)) or "nobody"
    )
    if name and not members:
        raise errors.NotFound(f"node: {name!r} is not in this cluster; these run models: {able}")
    for member in members:
        if capability in member.capabilities:
            return member
    who = name or f"{services.node_name} (the node asked)"
    raise errors.Unavailable(f"node: {who} runs no models now; these do: {able}")


def _plain(model: calls.Model) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(model)
    return plain


def routes() -> list[web.RouteDef]:
    """The routes about models."""
    return [
        web.get("/api/models", models),
        web.post("/api/pull", pull),
        web.delete("/api/delete", delete),
        web.post("/api/measure", measure),
    ]
