"""POST /api/chat and /api/generate: the official `ollama` client, and what else speaks to Ollama, can use a node.

    Client(host="http://127.0.0.1:7711")

Model `tars` is the whole assistant (documents, sources); any other name is plain inference by that model, wherever it
is. Streams are NDJSON and the default. A body must say `Content-Type: application/json`, as the official clients do.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from aiohttp import web

from tarsd import calls
from tarsd.api import ollama_embed, ollama_models
from tarsd.api.answers import stream
from tarsd.api.cluster_models import found_models
from tarsd.api.inference import ASSISTANT, assistant_pieces, model_pieces, whole_of
from tarsd.api.ollama_options import keep_alive_s, resolved
from tarsd.api.ollama_replies import OllamaForm
from tarsd.api.ollama_shapes import ChatBody, GenerateBody, chat_request, check, messages_of, question_of, warming
from tarsd.api.replies import json_reply, read_json
from tarsd.api.services import SERVICES, ApiServices
from tarsd.api.sse import tell_origin
from tarsd.api.temporary import is_temporary
from tarsd.api.who import who_asks
from tarsd.names import NodeId


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /api/chat."""
    return await _answer(request, await read_json(request, ChatBody))


async def generate(request: web.Request) -> web.StreamResponse:
    """POST /api/generate."""
    return await _answer(request, await read_json(request, GenerateBody))


async def _answer(request: web.Request, body: ChatBody | GenerateBody) -> web.StreamResponse:
    services = request.app[SERVICES]
    check(body)
    model = resolved(body.model, [ASSISTANT, *services.models()])
    form = OllamaForm(body.model, is_chat=isinstance(body, ChatBody))
    if not messages_of(body):
        return json_reply(form.without_answer(await _loaded(services, model, keep_alive_s(body.keep_alive), form)))
    if model == ASSISTANT:
        pieces = assistant_pieces(services, question_of(body), who_asks(request), temporary=is_temporary(request))
    else:
        pieces = model_pieces(services, chat_request(body, model))
    if body.stream is not False:
        return await stream(request, form, pieces)
    found = await whole_of(pieces, form.note)
    reply = json_reply(form.whole(found))
    tell_origin(reply, [found.extra], services.node_name)
    return reply


async def _loaded(services: ApiServices, model: str, stays_s: float | None, form: OllamaForm) -> str:
    """Load `model`, or unload it everywhere; return which. The assistant's model is its node's own affair."""
    if stays_s == 0:
        if model != ASSISTANT:
            await _unload(services, model)
        return "unload"
    if model != ASSISTANT:
        await whole_of(model_pieces(services, warming(model, stays_s)), form.note)
    return "load"


async def _unload(services: ApiServices, model: str) -> None:
    found = (await found_models(services)).get(model)
    able = {member.node for member in services.members() if calls.MODELS.name in member.capabilities}
    await asyncio.gather(
        *(_let_go(services, model, node) for node in (found.loaded_at if found else ()) if node in able)
    )


async def _let_go(services: ApiServices, model: str, node: NodeId) -> None:
    async with aclosing(services.dispatch.call(calls.CHAT, warming(model, 0.0), only=node)) as call:
        async for _ in call:
            pass


def routes() -> list[web.RouteDef]:
    """The routes of the Ollama-compatible API; what pulls and deletes models stands elsewhere."""
    answers = [web.post("/api/chat", chat), web.post("/api/generate", generate)]
    return [*answers, *ollama_embed.routes(), *ollama_models.routes()]
