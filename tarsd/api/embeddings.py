"""POST /v1/embeddings: vectors of texts by the cluster's own embedding model.

Rules
1. Only the model's real name is taken. Vectors of two models cannot be compared, so under an alias an index would go
   wrong the day the cluster gets another model.
2. `encoding_format` is `float` or `base64` (float32, little-endian), which the official client asks for by itself.
3. Tokens as input, and `dimensions` other than the model's own, are refused by name.
4. `input_type` may be `query` or `passage`, for models that want to know; without it a text is a passage.
5. Texts of any length are taken whole: one over the model's window is embedded in parts. `usage` is counted by the
   model; one that does not count says 0 rather than a guess.
"""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from tarsd.api.replies import FieldError, json_reply, read_json
from tarsd.api.services import SERVICES
from tarsd.api.vectors import vectors_of

PATH = "/v1/embeddings"
MAX_TEXTS = 2048  # OpenAI's own bound


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /v1/embeddings."""

    model: str
    input: str | Annotated[list[Any], Meta(min_length=1, max_length=MAX_TEXTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    input_type: Literal["query", "passage"] | None = None


def texts_of(request: EmbeddingRequest) -> list[str]:
    """Return the texts; raises `FieldError`."""
    if isinstance(request.input, str):
        return [_text(request.input, "input")]
    return [_text(text, f"input[{index}]") for index, text in enumerate(request.input)]


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise FieldError(where, "expected text; tokens are not taken, each model has its own", "unsupported_value")
    if not value:
        raise FieldError(where, "empty")
    return value


def encoded(vector: bytes, encoding_format: str | None) -> str | list[float]:
    """Return a vector as a client wants it (rule 2)."""
    if encoding_format == "base64":
        return base64.b64encode(vector).decode()
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


async def embed(request: web.Request) -> web.Response:
    """POST /v1/embeddings."""
    body = await read_json(request, EmbeddingRequest)
    found = await vectors_of(request.app[SERVICES], body.model, texts_of(body), body.input_type or "passage")
    if body.dimensions not in (None, found.dimension):
        raise FieldError(
            "dimensions", f"{body.model!r} makes {found.dimension}, got {body.dimensions}", "unsupported_value"
        )
    data = [
        {"object": "embedding", "index": index, "embedding": encoded(vector, body.encoding_format)}
        for index, vector in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    reply = json_reply({"object": "list", "data": data, "model": body.model, "usage": usage})
    reply.headers["x-tarsd-node"] = found.node
    return reply


def routes() -> list[web.RouteDef]:
    """The route of embeddings."""
    return [web.post(PATH, embed)]
