"""POST /v1/completions: what follows a bare text, by a model without its chat template.

Rules
1. `prompt` is a text or several; each is continued `n` times. Choices are numbered prompt by prompt.
2. `tars` is the assistant, which answers questions: it does not continue texts, and is refused.
3. Tokens as a prompt, `suffix`, `logprobs` and a `best_of` over `n` are refused by name.
4. With `echo` each text begins with its prompt.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta

from tarsd import errors
from tarsd.api.choices import wholes_of
from tarsd.api.inference import ASSISTANT, Piece, Whole, check_model, model_pieces
from tarsd.api.openai_chunks import finish_reason_of, origin_of, summed
from tarsd.api.openai_fields import (
    Sampling,
    StreamOptions,
    Tokens,
    check_number_of_answers,
    refuse,
    sampling_of,
    several,
    usage_of,
)
from tarsd.api.replies import FieldError, error_body, json_reply, read_json
from tarsd.api.services import SERVICES
from tarsd.api.sse import DONE, event, stream, tell_origin
from tarsd.calls import ChatRequest, Usage

PATH = "/v1/completions"
DEFAULT_MAX_TOKENS = 16  # OpenAI's own


class TextRequest(Sampling, frozen=True, kw_only=True):
    """The body of POST /v1/completions."""

    prompt: str | list[Any]
    max_tokens: Tokens | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    best_of: Annotated[int, Meta(ge=1)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    logprobs: int | None = None
    stream_options: StreamOptions | None = None


def check(request: TextRequest) -> None:
    """Refuse what cannot be done (rules 2 and 3); raises `FieldError`."""
    if request.model == ASSISTANT:
        raise FieldError("model", f"{ASSISTANT!r} answers questions (/v1/chat/completions): name a model")
    refuse(request, "suffix", "logit_bias")
    if request.logprobs is not None:
        raise FieldError("logprobs", "not supported here", "unsupported_parameter")
    if request.best_of not in (None, request.n or 1):
        raise FieldError("best_of", "not supported here other than n", "unsupported_value")


def prompts_of(request: TextRequest) -> list[str]:
    """Return the texts to continue; raises `FieldError`."""
    prompts = request.prompt if isinstance(request.prompt, list) else [request.prompt]
    if not prompts:
        raise FieldError("prompt", "no text to continue")
    found: list[str] = []
    for index, prompt in enumerate(prompts):
        where = f"prompt[{index}]" if isinstance(request.prompt, list) else "prompt"
        if not isinstance(prompt, str):
            raise FieldError(where, "expected text; tokens are not taken, each model has its own", "unsupported_value")
        if not prompt:
            raise FieldError(where, "empty")
        found.append(prompt)
    check_number_of_answers("prompt" if len(found) > 1 else "n", len(found) * (request.n or 1))
    return found


def requests_of(request: TextRequest, prompts: Sequence[str]) -> list[ChatRequest]:
    """Return the inference that was asked for: each prompt `n` times, in order (rule 1)."""
    return [
        one
        for prompt in prompts
        for one in several(
            ChatRequest(
                messages=[], prompt=prompt, max_tokens=request.max_tokens or DEFAULT_MAX_TOKENS, **sampling_of(request)
            ),
            request.n or 1,
        )
    ]


class TextShapes:
    """Builds the objects of one completion. Also a `StreamShape`. `echoes`: with what each choice begins (rule 4)."""

    def __init__(
        self, identifier: str, created: int, model: str, *, echoes: Sequence[str], n: int, with_usage: bool
    ) -> None:
        self._common = {"id": identifier, "object": "text_completion", "created": created, "model": model}
        self._echoes = echoes
        self._n = n
        self._with_usage = with_usage
        self._usages: dict[int, Usage] = {}

    def whole(self, wholes: Sequence[Whole]) -> dict[str, Any]:
        """Return the response of a completion that is not streamed."""
        choices = [
            _choice(index, self._echoes[index] + whole.text, finish_reason_of(whole.finish_reason))
            for index, whole in enumerate(wholes)
        ]
        usage = summed([whole.usage for whole in wholes], self._n)
        return self._common | {"choices": choices, "usage": usage_of(usage), "tarsd": origin_of(wholes)}

    def opening(self) -> bytes:
        """See `StreamShape`."""
        return b"".join(event(self._chunk(index, text)) for index, text in enumerate(self._echoes) if text)

    def piece(self, index: int, piece: Piece) -> bytes:
        """See `StreamShape`."""
        reason = finish_reason_of(piece.finish_reason) if piece.finish_reason else None
        if reason:
            self._usages[index] = piece.usage
        return event(self._chunk(index, piece.text, reason) | ({"tarsd": piece.extra} if piece.extra else {}))

    def closing(self) -> bytes:
        """See `StreamShape`."""
        if not self._with_usage:
            return DONE
        usage = summed([self._usages[index] for index in sorted(self._usages)], self._n)
        return event(self._common | {"choices": [], "usage": usage_of(usage)}) + DONE

    def failure(self, error: errors.TarsdError) -> bytes:
        """See `StreamShape`."""
        return event(error_body(error, PATH))

    def _chunk(self, index: int, text: str, reason: str | None = None) -> dict[str, Any]:
        usage = {"usage": None} if self._with_usage else {}
        return self._common | {"choices": [_choice(index, text, reason)]} | usage


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


async def complete_text(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions."""
    services = request.app[SERVICES]
    body = await read_json(request, TextRequest)
    check(body)
    prompts, n = prompts_of(body), body.n or 1
    check_model(services, body.model)
    answers = [model_pieces(services, one) for one in requests_of(body, prompts)]
    shapes = TextShapes(
        f"cmpl-{secrets.token_hex(12)}",
        int(time.time()),
        body.model,
        echoes=[prompt if body.echo else "" for prompt in prompts for _ in range(n)],
        n=n,
        with_usage=body.stream_options is not None and body.stream_options.include_usage,
    )
    if body.stream:
        return await stream(request, answers, shapes)
    wholes = await wholes_of(answers)
    reply = json_reply(shapes.whole(wholes))
    tell_origin(reply, [whole.extra for whole in wholes], services.node_name)
    return reply


def routes() -> list[web.RouteDef]:
    """The route of raw completions."""
    return [web.post(PATH, complete_text)]
