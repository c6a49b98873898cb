"""Ollama's lists of models: GET /api/tags, GET /api/ps, POST /api/show, GET /api/version.

They show the whole cluster: what any node has is there, wherever it is (`tarsd.nodes`). `tars` is the assistant.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from tarsd import calls
from tarsd.api.cluster_models import Found, found_models
from tarsd.api.inference import ASSISTANT
from tarsd.api.ollama_options import resolved, tagged
from tarsd.api.ollama_replies import moment
from tarsd.api.replies import FieldError, json_reply, read_json
from tarsd.api.services import SERVICES, ApiServices

# Clients refuse an Ollama that is older than what they need: this is whose API is followed, not our own version.
API_VERSION = "0.12.6"
USABLE = ("loaded", "loading", "present")
FOR_EVER_S = 100 * 365 * 86_400.0  # there is no word for "it stays"; Ollama tells a time far away as well


class ShowBody(msgspec.Struct, frozen=True):
    """The body of POST /api/show; `name` is the older word for `model`."""

    model: Annotated[str, Meta(max_length=400)] = ""
    name: Annotated[str, Meta(max_length=400)] = ""


async def _all(services: ApiServices) -> dict[str, Found]:
    assistant = Found(calls.Model(ASSISTANT, "loaded", source="the whole assistant"), (services.node_name,))
    return {ASSISTANT: assistant} | await found_models(services)


async def tags(request: web.Request) -> web.Response:
    """GET /api/tags: the models that a request may name."""
    found = await _all(request.app[SERVICES])
    return json_reply({"models": [_listed(each) for each in found.values() if each.model.state in USABLE]})


async def running(request: web.Request) -> web.Response:
    """GET /api/ps: the models that are in memory now, anywhere in the cluster."""
    found = await found_models(request.app[SERVICES])
    return json_reply({"models": [_running(each, time.time()) for each in found.values() if each.loaded_at]})


async def show(request: web.Request) -> web.Response:
    """POST /api/show: what is known of one model."""
    body = await read_json(request, ShowBody)
    if not (asked := body.model or body.name):
        raise FieldError("model", "which one?")
    found = await _all(request.app[SERVICES])
    return json_reply(_shown(found[resolved(asked, found)]))


async def version(request: web.Request) -> web.Response:
    """GET /api/version: the Ollama version whose API this is; `tarsd` is this node's own."""
    return json_reply({"version": API_VERSION, "tarsd": request.app[SERVICES].version})


def parameter_size(parameters: int) -> str:
    """Return a number of parameters as Ollama writes it: "134.52M", "7.2B"; "" = not known."""
    for unit, size, digits in (("B", 10**9, 1), ("M", 10**6, 2), ("K", 10**3, 2)):
        if parameters >= size:
            return f"{parameters / size:.{digits}f}{unit}"
    return str(parameters) if parameters else ""


def _details(model: calls.Model) -> dict[str, Any]:
    family = model.architecture
    return {
        "parent_model": "",
        "format": "gguf" if model.engine in ("", "llama_cpp") and model.sha256 else "",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": parameter_size(model.parameters),
        "quantization_level": model.quantization,
    }


def _named(found: Found) -> dict[str, Any]:
    model = found.model
    return {
        "name": tagged(model.name),
        "model": tagged(model.name),
        "size": model.size_bytes,
        "digest": model.sha256,
        "details": _details(model),
        "tarsd": {"nodes": found.nodes, "state": model.state, "engine": model.engine},
    }


def _listed(found: Found) -> dict[str, Any]:
    return _named(found) | {"modified_at": moment(found.model.modified_at)}


def _running(found: Found, now: float) -> dict[str, Any]:
    model = found.model
    stays_s = FOR_EVER_S if model.expires_s is None else min(model.expires_s, FOR_EVER_S)
    return _named(found) | {
        "size": model.memory_bytes or model.size_bytes,
        "size_vram": 0,  # nodes do not tell how much of a model is on a graphics card
        "expires_at": moment(now + stays_s),
        "context_length": model.context_tokens,
    }


def _shown(found: Found) -> dict[str, Any]:
    model = found.model
    info: dict[str, Any] = {}
    if model.architecture:
        info["general.architecture"] = model.architecture
    if model.parameters:
        info["general.parameter_count"] = model.parameters
    if model.context_tokens:
        info[f"{model.architecture or 'general'}.context_length"] = model.context_tokens
    abilities = ["embedding"] if found.embeds else ["completion", *(["tools"] if model.can_use_tools else [])]
    return {
        "modelfile": "",
        "parameters": "",
        "template": model.template,
        "details": _details(model),
        "model_info": info,
        "capabilities": abilities,
        "modified_at": moment(model.modified_at),
        "tarsd": _named(found)["tarsd"],
    }


def routes() -> list[web.RouteDef]:
    """The routes of Ollama's lists."""
    return [
        web.get("/api/tags", tags),
        web.get("/api/ps", running),
        web.post("/api/show", show),
        web.get("/api/version", version),
    ]
