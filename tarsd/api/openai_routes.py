"""The OpenAI-compatible API: the official `openai` client can use a node unchanged.

    client = OpenAI(base_url="http://127.0.0.1:7711/v1", api_key="any")        # beyond loopback: the access token
    client.chat.completions.create(model="tars", messages=[…])                 # the whole assistant
    client.chat.completions.create(model="<a model's name>", messages=[…])     # plain inference by that model

    POST /v1/chat/completions   POST /v1/completions   POST /v1/responses   POST /v1/embeddings   GET /v1/models

Errors come in OpenAI's shape; a 429 or 503 says in Retry-After when to come again. Headers x-tarsd-node and
x-tarsd-engine say who generated; the field `tarsd` of a reply tells more: sources, what was missing, which limit cut
it. A request header X-Tarsd-Temporary: 1 makes a question to the assistant one of a temporary chat (`temporary`).
"""

from __future__ import annotations

from aiohttp import web

from tarsd.api import completions, embeddings, openai_models, responses, text_completions


def routes() -> list[web.RouteDef]:
    """The routes of the OpenAI-compatible API."""
    modules = (completions, text_completions, responses, embeddings, openai_models)
    return [route for module in modules for route in module.routes()]
