"""What every inference API of a node stands on: an answer as pieces, by the whole assistant or by one model.

Model `tars` is the whole assistant (memory, documents, sources); any other name is plain inference by that model,
wherever in the cluster it runs. The APIs differ in their shapes only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec.structs import replace

from tarsd import calls, errors
from tarsd.api.allowance import Meter
from tarsd.api.replies import ModelUnknown
from tarsd.api.services import ApiServices
from tarsd.gossip.member import Member
from tarsd.host import events
from tarsd.host.carrying import carried_plainly
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


class Whole(msgspec.Struct):
    """An answer that has ended, for replies that are not streamed."""

    text: str = ""
    finish_reason: str = ""
    usage: calls.Usage = calls.Usage()
    tool_calls: list[calls.ToolCall] = []
    extra: Extra = msgspec.field(default_factory=Extra)
    last: Piece = msgspec.field(default_factory=Piece)  # that says why it ended

    def take(self, piece: Piece) -> None:
        """Fold one piece in."""
        self.text += piece.text
        self.extra = merged(self.extra, piece.extra)
        if piece.finish_reason:
            self.finish_reason, self.usage, self.tool_calls = piece.finish_reason, piece.usage, piece.tool_calls
            self.last = piece

    def check(self) -> None:
        """Raise `Unavailable` where the last part is missing: an answer that was cut is no answer."""
        if not self.finish_reason:
            raise cut_off()


async def whole_of(pieces: AsyncGenerator[Piece, None], note: Callable[[Piece], None] = lambda piece: None) -> Whole:
    """Return the whole answer, having shown each piece to `note`.

    Raises what the pieces raise, and `Unavailable` where the last part is missing.
    """
    whole = Whole()
    async with aclosing(pieces):
        async for piece in pieces:
            note(piece)
            whole.take(piece)
    whole.check()
    return whole


def cut_off() -> errors.Unavailable:
    """Return the error of an answer that stopped without saying why."""
    return errors.Unavailable("the answer ended without its last part")


def is_waiting(piece: Piece) -> bool:
    """Tell whether a piece says that the answer has not begun: it is in a queue, or its model is being loaded."""
    return bool(piece.queue_position or piece.loading)


async def model_pieces(services: ApiServices, request: calls.ChatRequest) -> AsyncGenerator[Piece, None]:
    """Yield the answer of plain inference by `request.model`; a node that is lost is replaced, unseen."""
    others = frozenset(m.node for m in services.members() if not serves(m, request.model))
    parts = carried_plainly(
        services.dispatch, services.members, request, exclude=others, conversation=request.conversation
    )
    with Meter() as meter:
        async with aclosing(parts):
            async for item, node, _ in parts:
                meter.sent(item.text)
                if item.usage is not None:
                    meter.ended(item.usage.prompt_tokens, item.usage.completion_tokens)
                extra = None
                if item.engine:
                    extra = Extra(generated_by=node or services.node_name, engine=item.engine, model=item.model)
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


async def assistant_pieces(
    services: ApiServices, question: events.Question, who: calls.Who, *, temporary: bool = False
) -> AsyncGenerator[Piece, None]:
    """Yield the answer of the whole assistant to a question that `who` asks, perhaps in a `temporary` chat."""
    question = replace(question, who=who, temporary=temporary)
    # kept until somebody answers or it lasts: a full queue is then a plain 429, which clients know how to take
    known: Extra | None = None
    with Meter() as meter:
        async with aclosing(services.host.ask(question)) as answer:
            async for event in answer:
                match event:
                    case events.TokenEvent():
                        meter.sent(event.text)
                        yield Piece(event.text, known)
                        known = None
                    case events.RouteEvent():
                        known = Extra(route=event.route, prepared_by=event.prepared_by, trace=event.trace)
                    case events.SourcesEvent():
                        known = merged(known or Extra(), Extra(sources=event.sources))
                    case events.NoticeEvent():
                        extra = merged(known or Extra(), Extra(notices=[event.text]))
                        loading = event.code == "waiting" and not event.position
                        yield Piece(extra=extra, queue_position=event.position, wait_s=event.wait_s, loading=loading)
                        known = None
                    case events.DoneEvent():
                        meter.ended(event.usage.prompt_tokens, event.usage.completion_tokens)
                        extra = Extra(
                            generated_by=event.generated_by,
                            prepared_by=event.prepared_by,
                            engine=event.engine,
                            model=event.model,
                            degraded=event.degraded,
                            limit=event.limit,
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


def turns_of(messages: Sequence[calls.Message]) -> list[calls.Turn]:
    """Return the exchanges in `messages`; several of one side in a row are one, system text comes first.

    The assistant's own prompt is the system message, so a client's system text goes first among the turns: it is
    heard, but does not replace the assistant's.
    """
    system = "\n".join(message.content for message in messages if message.role == "system")
    turns = [calls.Turn(question=system, answer="OK.")] if system else []
    asked: list[str] = []
    answered: list[str] = []
    for message in messages:
        if message.role == "user":
            if answered:
                turns.append(calls.Turn("\n".join(asked), "\n".join(answered)))
                asked, answered = [], []
            asked.append(message.content)
        elif message.role == "assistant":
            answered.append(message.content)
    if asked or answered:
        turns.append(calls.Turn("\n".join(asked), "\n".join(answered)))
    return turns
