"""What every inference API of a node stands on: an answer as pieces, by the whole assistant or by one model.

Model `tars` is the whole assistant (memory, documents, sources); any other name is plain inference by that model,
wherever in the cluster it runs. The APIs differ in their shapes only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from tarsd import calls, errors
from tarsd.api.replies import ModelUnknown
from tarsd.api.services import ApiServices
from tarsd.gossip.member import Member
from tarsd.host import events
from tarsd.host.events import Source

ASSISTANT = "tars"


class Extra(msgspec.Struct, omit_defaults=True):
    """The field `tarsd` beside OpenAI's own: how the answer came about."""

    route: str = ""
    sources: list[Source] = []
    notices: list[str] = []
    generated_by: str = ""
    prepared_by: str = ""
    engine: str = ""
    model: str = ""
    degraded: list[str] = []
    trace: str = ""
    limit: str = ""  # which limit cut the answer: "max_tokens", "context", "deadline"
    dropped_messages: int = 0  # of the oldest ones, left out so that the rest fits the context


class Piece(msgspec.Struct, frozen=True):
    """What an answer yields to every reply form: text, how it came about, and (last) why it ended.

    While waiting: `queue_position`, `wait_s` and `loading`, as in `ChatItem`.
    """

    text: str = ""
    extra: Extra | None = None
    finish_reason: str = ""  # "stop", "length", "tool_calls", "passages"
    usage: calls.Usage = calls.Usage()
    tool_calls: list[calls.ToolCall] = []
    limit: str = ""
    queue_position: int = 0
    wait_s: float = 0.0
    loading: bool = False
    stop_sequence: str = ""


def check_model(services: ApiServices, model: str) -> None:
    """Raise `ModelUnknown` where no node of the cluster has `model`, loaded or on demand."""
    known = services.models()
    if model not in known:
        names = ", ".join([ASSISTANT, *known])
        raise ModelUnknown(f"model: {model!r} is not in the cluster right now; there is {names}")


def serves(member: Member, model: str) -> bool:
    """Tell whether `member` offers `model`: as its own, or among those it loads on demand."""
    attributes = member.capabilities.get(calls.CHAT.name, {})
    on_demand = attributes.get("models")
    return attributes.get("model") == model or (isinstance(on_demand, list) and model in on_demand)


async def model_pieces(services: ApiServices, request: calls.ChatRequest) -> AsyncGenerator[Piece, None]:
    """Yield the answer of plain inference by `request.model`, wherever in the cluster it runs."""
    others = frozenset(m.node for m in services.members() if not serves(m, request.model))
    call = services.dispatch.call(calls.CHAT, request, exclude=others)
    async with aclosing(call):
        async for item in call:
            extra = None
            if item.engine:
                node = call.member.name if call.member else services.node_name
                extra = Extra(generated_by=node, engine=item.engine, model=item.model)
            if item.limit or item.dropped_messages:
                extra = merged(extra or Extra(), Extra(limit=item.limit, dropped_messages=item.dropped_messages))
            yield Piece(
                item.text,
                extra,
                item.finish_reason,
                item.usage or calls.Usage(),
                item.tool_calls,
                item.limit,
                item.queue_position,
                item.wait_s,
                item.loading,
                item.stop_sequence,
            )


async def assistant_pieces(services: ApiServices, question: events.Question) -> AsyncGenerator[Piece, None]:
    """Yield the answer of the whole assistant."""
    # kept until somebody answers or it lasts: a full queue is then a plain 429, which clients know how to take
    known: Extra | None = None
    async with aclosing(services.host.ask(question)) as answer:
        async for event in answer:
            match event:
                case events.TokenEvent():
                    yield Piece(event.text, known)
                    known = None
                case events.RouteEvent():
                    known = Extra(route=event.route, prepared_by=event.prepared_by, trace=event.trace)
                case events.SourcesEvent():
                    known = merged(known or Extra(), Extra(sources=event.sources))
                case events.NoticeEvent():
                    extra = merged(known or Extra(), Extra(notices=[event.text]))
                    yield Piece(extra=extra, queue_position=event.position)
                    known = None
                case events.DoneEvent():
                    extra = Extra(
                        generated_by=event.generated_by,
                        prepared_by=event.prepared_by,
                        engine=event.engine,
                        model=event.model,
                        degraded=event.degraded,
                    )
                    yield Piece(
                        extra=merged(known or Extra(), extra), finish_reason=event.finish_reason, usage=event.usage
                    )
                case events.ErrorEvent():
                    raise _error_of(event)


def _error_of(event: events.ErrorEvent) -> errors.TarsdError:
    return errors.from_wire(event.name, event.sentence, event.retry_after_s)


def merged(known: Extra, news: Extra | None) -> Extra:
    """Return what is known with the news: lists grow, words are replaced."""
    if news is None:
        return known
    both: dict[str, Any] = {}
    for name in Extra.__struct_fields__:
        before, now = getattr(known, name), getattr(news, name)
        both[name] = before + now if isinstance(now, list) else now or before
    return Extra(**both)
