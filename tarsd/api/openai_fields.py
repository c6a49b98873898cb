"""What the requests of OpenAI's API have in common: sampling, and what is refused in all of them. Pure.

Rules
1. Beside OpenAI's own fields those of vLLM and llama.cpp's server are known: `top_k`, `min_p`, `repeat_penalty` (also
   as `repetition_penalty`), `grammar`. A `top_k` of 0 or -1 means all.
2. `prompt_cache_key` names a conversation: its next question goes to the node whose cache has the ones before.
3. An answer without a bound of its own gets the one of the node that generates (`cognitive.max_tokens`).
4. What would change the answer and cannot be done (`logit_bias`, `logprobs`) is refused by name, never ignored; what
   changes nothing that a reader sees (`user`, `metadata`, `store`, `service_tier`) is ignored without harm.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tarsd.api.replies import FieldError
from tarsd.calls import ChatRequest, Usage
from tarsd.names import ConversationId

MAX_ANSWERS = 8  # generated for one request; each takes a place in the queue of people
NODE_MAX_TOKENS = 32_768  # the most that a node's own bound can be: that one decides

Tokens = Annotated[int, Meta(ge=1, le=1_000_000)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Which model, and how it chooses its words."""

    model: str
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    grammar: str | None = None
    logit_bias: dict[str, float] | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=512)] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """`include_usage`: a last chunk without choices tells the usage."""

    include_usage: bool = False


def sampling_of(request: Sampling) -> dict[str, Any]:
    """Return the fields of a `ChatRequest` that were given; what was not keeps its own default."""
    penalty = request.repeat_penalty if request.repeat_penalty is not None else request.repetition_penalty
    given = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": None if request.top_k is None else max(0, request.top_k),
        "min_p": request.min_p,
        "repeat_penalty": penalty,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "seed": request.seed,
        "grammar": request.grammar,
    }
    found = {name: value for name, value in given.items() if value is not None}
    conversation = ConversationId(request.prompt_cache_key or "")
    return found | {"model": request.model, "stop": stops(request), "conversation": conversation}


def stops(request: Sampling) -> list[str]:
    """Return the stop strings as a list."""
    return [request.stop] if isinstance(request.stop, str) else list(request.stop or [])


def refuse(request: msgspec.Struct, *names: str, why: str = "not supported here") -> None:
    """Raise `FieldError` for the first of the fields that asks for something (rule 4)."""
    for name in names:
        if getattr(request, name):
            raise FieldError(name, why, "unsupported_parameter")


def check_number_of_answers(name: str, number: int) -> None:
    """Raise `FieldError` where more answers are asked for than are generated for one request."""
    if number > MAX_ANSWERS:
        raise FieldError(name, f"at most {MAX_ANSWERS} answers are made for one request, {number} are asked for")


def usage_of(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's usage object."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def several(request: ChatRequest, number: int) -> list[ChatRequest]:
    """Return the request so many times; with a seed each has its own, or all would say the same."""
    if request.seed is None or number == 1:
        return [request] * number
    return [msgspec.structs.replace(request, seed=_within_64_bits(request.seed + index)) for index in range(number)]


def _within_64_bits(seed: int) -> int:
    return (seed + 2**63) % 2**64 - 2**63
