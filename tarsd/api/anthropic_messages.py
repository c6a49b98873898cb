"""POST /v1/messages: the official `anthropic` client can use a node unchanged.

    Anthropic(base_url="http://127.0.0.1:7711", api_key="any")        # beyond loopback: the access token

Model `tars` is the whole assistant (documents, sources); any other name is plain inference by that model, wherever in
the cluster it runs. Headers: x-tarsd-node and x-tarsd-engine, as `answers` says.
"""

from __future__ import annotations

import secrets

from aiohttp import web

from tarsd.api.answers import stream
from tarsd.api.anthropic_replies import AnthropicForm
from tarsd.api.anthropic_shapes import MessagesBody, chat_request, check, parallel_of, question_of
from tarsd.api.error_shapes import MESSAGES_PATH
from tarsd.api.inference import ASSISTANT, assistant_pieces, check_model, model_pieces, whole_of
from tarsd.api.replies import json_reply, read_json
from tarsd.api.services import SERVICES
from tarsd.api.sse import tell_origin
from tarsd.api.temporary import is_temporary
from tarsd.api.who import who_asks
from tarsd.errors import NotFound


async def message(request: web.Request) -> web.StreamResponse:
    """POST /v1/messages."""
    services = request.app[SERVICES]
    body = await read_json(request, MessagesBody)
    check(body)
    if body.model == ASSISTANT:
        pieces = assistant_pieces(services, question_of(body), who_asks(request), temporary=is_temporary(request))
    else:
        check_model(services, body.model)
        pieces = model_pieces(services, chat_request(body))
    form = AnthropicForm(f"msg_{secrets.token_hex(12)}", body.model, parallel_calls=parallel_of(body.tool_choice))
    if body.stream:
        return await stream(request, form, pieces)
    found = await whole_of(pieces)
    reply = json_reply(form.whole(found))
    tell_origin(reply, [found.extra], services.node_name)
    return reply


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """POST /v1/messages/count_tokens: always 404; the node that answers counts, in `usage`."""
    raise NotFound(f"{request.path}: tokens are counted by the model that answers; see `usage` of an answer")


def routes() -> list[web.RouteDef]:
    """The routes of the Anthropic-compatible API."""
    return [web.post(MESSAGES_PATH, message), web.post(f"{MESSAGES_PATH}/count_tokens", count_tokens)]
