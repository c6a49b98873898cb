"""POST /v1/responses: OpenAI's newer form of a chat, without a memory of its own: the client sends the whole chat.

What is taken stands in `responses_request`, what is given in `responses_shapes`, how it is streamed in `sse`. For a
memory there is the model `tars`, the assistant, which has its own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator

from aiohttp import web

from tarsd.api.inference import ASSISTANT, Piece, assistant_pieces, check_model, model_pieces, whole_of
from tarsd.api.replies import json_reply, read_json
from tarsd.api.responses_request import ResponseRequest, chat_request, check, question_of
from tarsd.api.responses_shapes import ResponseShapes
from tarsd.api.services import SERVICES, ApiServices
from tarsd.api.sse import stream, tell_origin
from tarsd.api.temporary import is_temporary
from tarsd.api.who import who_asks

PATH = "/v1/responses"


async def respond(request: web.Request) -> web.StreamResponse:
    """POST /v1/responses."""
    services = request.app[SERVICES]
    body = await read_json(request, ResponseRequest)
    check(body)
    answer = _answer(services, body, request)
    shapes = ResponseShapes(f"resp_{secrets.token_hex(12)}", int(time.time()), body)
    if body.stream:
        return await stream(request, [answer], shapes)
    whole = await whole_of(answer)
    reply = json_reply(shapes.whole(whole))
    tell_origin(reply, [whole.extra], services.node_name)
    return reply


def _answer(services: ApiServices, body: ResponseRequest, request: web.Request) -> AsyncGenerator[Piece, None]:
    if body.model == ASSISTANT:
        return assistant_pieces(services, question_of(body), who_asks(request), temporary=is_temporary(request))
    check_model(services, body.model)
    return model_pieces(services, chat_request(body))


def routes() -> list[web.RouteDef]:
    """The route of responses."""
    return [web.post(PATH, respond)]
