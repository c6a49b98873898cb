"""POST /v1/chat/completions: the official `openai` client can use a node unchanged.

    OpenAI(base_url="http://127.0.0.1:7711/v1", api_key="any")        # beyond loopback: the access token

Model `tars` is the whole assistant (documents, sources); a chat model's own name is plain inference by that model,
with tools, answer formats and several choices. What is taken stands in `openai_shapes`, what is given in
`openai_chunks`, how it is streamed in `sse`. Who does not stream hears nothing while it waits: a header would come only
with the answer, when the wait is over.
A lost node that generates is replaced unseen; a lost node that took the question is not, since these clients know of no
other: a stream is whole only with its finish reason and `[DONE]`; one that breaks ends in an error or is cut.
"""

from __future__ import annotations

import secrets
import time

from aiohttp import web

from tarsd.api.choices import Answers, wholes_of
from tarsd.api.inference import ASSISTANT, assistant_pieces, check_model, model_pieces
from tarsd.api.openai_chunks import ChatShapes
from tarsd.api.openai_shapes import CompletionRequest, chat_requests, check, question_of
from tarsd.api.replies import json_reply, read_json
from tarsd.api.services import SERVICES, ApiServices
from tarsd.api.sse import stream, tell_origin
from tarsd.api.temporary import is_temporary
from tarsd.api.who import who_asks


async def complete(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    services = request.app[SERVICES]
    body = await read_json(request, CompletionRequest)
    check(body)
    answers = _answers(services, body, request)
    shapes = ChatShapes(
        f"chatcmpl-{secrets.token_hex(12)}",
        int(time.time()),
        body.model,
        choices=len(answers),
        with_usage=body.stream_options is not None and body.stream_options.include_usage,
        parallel_tool_calls=body.parallel_tool_calls,
    )
    if body.stream:
        return await stream(request, answers, shapes)
    wholes = await wholes_of(answers)
    reply = json_reply(shapes.whole(wholes))
    tell_origin(reply, [whole.extra for whole in wholes], services.node_name)
    return reply


def _answers(services: ApiServices, body: CompletionRequest, request: web.Request) -> Answers:
    if body.model == ASSISTANT:
        return [assistant_pieces(services, question_of(body), who_asks(request), temporary=is_temporary(request))]
    check_model(services, body.model)
    return [model_pieces(services, one) for one in chat_requests(body)]


def routes() -> list[web.RouteDef]:
    """The route of chat completions."""
    return [web.post("/v1/chat/completions", complete)]
