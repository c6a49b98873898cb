"""OpenAI's chat completion shapes: what we take, what we give. Pure.

Rules
1. `model` "tars" is the whole assistant; any other name is plain inference by that model.
2. For "tars" the last message is the question, the exchanges before it are the turns. Its own prompt is the system
   message, so a client's system text goes first among the turns: it is heard, but does not replace the assistant's.
3. What we cannot do (tools, images, several choices, JSON mode) is refused by name, never ignored.
4. Ignored without harm: `user`, `metadata`, `store`, penalties, and what else does not change an answer's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tarsd.api.inference import Extra
from tarsd.api.replies import FieldError
from tarsd.calls import ChatRequest, Message, Turn, Usage
from tarsd.host.events import DEFAULT_MAX_TOKENS, Question

MAX_MESSAGES = 512


class Part(msgspec.Struct, frozen=True):
    """A part of a message's content; only text is understood."""

    type: str
    text: str = ""


class InMessage(msgspec.Struct, frozen=True):
    """A message as clients send it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """`include_usage`: a last chunk without choices tells the usage."""

    include_usage: bool = False


class CompletionRequest(msgspec.Struct, frozen=True):
    """The body of POST /v1/chat/completions."""

    model: str
    messages: Annotated[list[InMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    audio: Any = None


def check(request: CompletionRequest) -> None:
    """Refuse what cannot be done here (rule 3); raises `FieldError`."""
    if request.n not in (None, 1):
        raise FieldError("n", f"only 1 choice is made, got {request.n}", "unsupported_value")
    for name in ("tools", "functions", "logprobs", "audio"):
        if getattr(request, name):
            raise FieldError(name, "not supported here", "unsupported_parameter")
    if request.response_format is not None and request.response_format.get("type") != "text":
        raise FieldError("response_format", "only text is supported here", "unsupported_value")


def messages_of(request: CompletionRequest) -> list[Message]:
    """Return the messages as models take them; raises `FieldError`."""
    found: list[Message] = []
    for index, message in enumerate(request.messages):
        where = f"messages[{index}]"
        if message.role in ("tool", "function"):
            raise FieldError(f"{where}.role", f"{message.role!r} is not supported here", "unsupported_value")
        role: Any = "system" if message.role == "developer" else message.role
        found.append(Message(role=role, content=_text_of(message, where)))
    return found


def _text_of(message: InMessage, where: str) -> str:
    if message.content is None:
        raise FieldError(f"{where}.content", "expected text, got null")
    if isinstance(message.content, str):
        return message.content
    for index, part in enumerate(message.content):
        if part.type != "text":
            raise FieldError(f"{where}.content[{index}].type", f"only text is understood, got {part.type!r}")
    return "\n".join(part.text for part in message.content)


def chat_request(request: CompletionRequest, messages: list[Message]) -> ChatRequest:
    """Return the plain inference that was asked for."""
    return ChatRequest(
        messages=messages,
        model=request.model,
        max_tokens=request.max_completion_tokens or request.max_tokens or DEFAULT_MAX_TOKENS,
        temperature=0.7 if request.temperature is None else request.temperature,
        top_p=0.95 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=stops(request),
    )


def question_of(request: CompletionRequest, messages: Sequence[Message]) -> Question:
    """Return the question to the assistant (rule 2); raises `FieldError`."""
    last = messages[-1]
    if last.role != "user":
        raise FieldError(
            f"messages[{len(messages) - 1}].role", f"the last message must be the user's, got {last.role!r}"
        )
    return Question(
        text=last.content,
        turns=tuple(turns_of(messages[:-1])),
        max_tokens=request.max_completion_tokens or request.max_tokens or 0,
        temperature=request.temperature,
        top_p=0.95 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=tuple(stops(request)),
    )


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """Return the exchanges in `messages`; several of one side in a row are one, system text comes first."""
    system = "\n".join(message.content for message in messages if message.role == "system")
    turns = [Turn(question=system, answer="OK.")] if system else []
    asked: list[str] = []
    answered: list[str] = []
    for message in messages:
        if message.role == "user":
            if answered:
                turns.append(Turn("\n".join(asked), "\n".join(answered)))
                asked, answered = [], []
            asked.append(message.content)
        elif message.role == "assistant":
            answered.append(message.content)
    if asked or answered:
        turns.append(Turn("\n".join(asked), "\n".join(answered)))
    return turns


def stops(request: CompletionRequest) -> list[str]:
    """Return the stop strings as a list."""
    return [request.stop] if isinstance(request.stop, str) else list(request.stop or [])


def usage_of(usage: Usage) -> dict[str, int]:
    """Return OpenAI's usage object."""
    total = usage.prompt_tokens + usage.completion_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": total,
    }


class Shapes:
    """Builds the objects of one completion: they share id, time and model."""

    def __init__(self, identifier: str, created: int, model: str, *, with_usage: bool = False) -> None:
        self._common = {"id": identifier, "created": created, "model": model, "system_fingerprint": None}
        self._with_usage = with_usage

    def whole(self, text: str, finish_reason: str, usage: Usage, extra: Extra) -> dict[str, Any]:
        """Return the response of a completion that is not streamed."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
        parts = {"object": "chat.completion", "choices": [choice], "usage": usage_of(usage), "tarsd": extra}
        return self._common | parts

    def chunk(
        self, text: str | None = None, finish_reason: str | None = None, extra: Extra | None = None, first: bool = False
    ) -> dict[str, Any]:
        """Return one chunk of a streamed completion."""
        delta = ({"role": "assistant"} if first else {}) | ({"content": text} if text is not None else {})
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        parts: dict[str, Any] = {"object": "chat.completion.chunk", "choices": [choice]}
        if self._with_usage:
            parts["usage"] = None
        if extra is not None:
            parts["tarsd"] = extra
        return self._common | parts

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """Return the last chunk, which has the usage and no choices."""
        return self._common | {"object": "chat.completion.chunk", "choices": [], "usage": usage_of(usage)}


def finish_reason_of(found: str) -> str:
    """Return OpenAI's word: passages shown in place of an answer are a complete reply to a client."""
    return "length" if found == "length" else "stop"
