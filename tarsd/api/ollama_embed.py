"""Ollama's vectors: POST /api/embed, and the older POST /api/embeddings.

Rules
1. A model that makes vectors is asked wherever it is; one that chats is refused by name, an unknown one is not found.
2. Any number of texts is taken, in calls of as many as one takes; the vectors come in the order of the texts.
3. `dimensions` cuts each vector and gives it the length 1 again, as Ollama does. `truncate` false is refused: a model
   here does not say when a text was longer than its window.
"""

from __future__ import annotations

import array
import math
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from tarsd import errors
from tarsd.api.ollama_options import keep_alive_s, resolved
from tarsd.api.replies import FieldError, json_reply, read_json
from tarsd.api.services import SERVICES, ApiServices
from tarsd.api.vectors import embedding_models, vectors_of

MAX_TEXTS = 8192


class EmbedBody(msgspec.Struct, frozen=True):
    """The body of POST /api/embed."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | Annotated[list[str], Meta(max_length=MAX_TEXTS)] = ""
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    keep_alive: float | str | None = None
    options: dict[str, Any] | None = None


class OldEmbedBody(msgspec.Struct, frozen=True):
    """The body of POST /api/embeddings."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: str = ""
    keep_alive: float | str | None = None
    options: dict[str, Any] | None = None


async def embed(request: web.Request) -> web.Response:
    """POST /api/embed: vectors of one text or many."""
    body = await read_json(request, EmbedBody)
    if body.truncate is False:
        raise FieldError("truncate", "only true is supported here")
    keep_alive_s(body.keep_alive)
    texts = [body.input] if isinstance(body.input, str) else body.input
    began = time.monotonic()
    vectors, tokens = await _vectors(request.app[SERVICES], body.model, texts if body.input else [])
    reply = {"model": body.model, "embeddings": [cut(vector, body.dimensions) for vector in vectors]}
    took = {"total_duration": round((time.monotonic() - began) * 1e9), "load_duration": 0}
    return json_reply(reply | took | {"prompt_eval_count": tokens})


async def old_embed(request: web.Request) -> web.Response:
    """POST /api/embeddings: the vector of one text."""
    body = await read_json(request, OldEmbedBody)
    vectors, _ = await _vectors(request.app[SERVICES], body.model, [body.prompt] if body.prompt else [])
    return json_reply({"embedding": vectors[0] if vectors else []})


async def _vectors(services: ApiServices, asked: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
    """Return the vectors of `texts`, and how many tokens they were."""
    makers = embedding_models(services)
    model = resolved(asked, [*makers, *services.models()])
    if model not in makers:
        raise FieldError("model", f"{model!r} makes no vectors; there is {', '.join(makers) or 'none that does'}")
    found = await vectors_of(services, model, texts)
    if len(found.vectors) != len(texts):
        raise errors.Unavailable(f"embed: {len(found.vectors)} vectors for {len(texts)} texts")
    return [numbers(vector) for vector in found.vectors], found.tokens


def numbers(vector: bytes) -> list[float]:
    """Return the numbers of a vector as it travels: float32, little-endian."""
    found = array.array("f", vector)
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()


def cut(vector: Sequence[float], dimensions: int | None) -> list[float]:
    """Return the first `dimensions` numbers, scaled to the length 1 (rule 3)."""
    if dimensions is None or dimensions >= len(vector):
        return list(vector)
    part = vector[:dimensions]
    length = math.sqrt(sum(number * number for number in part))
    return [number / length for number in part] if length else list(part)


def routes() -> list[web.RouteDef]:
    """The routes of Ollama's vectors."""
    return [web.post("/api/embed", embed), web.post("/api/embeddings", old_embed)]
