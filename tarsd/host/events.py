"""The events of an answer, in the order a reader gets them; `/ws` sends each one as JSON with its `type`.

    answer, route, [memories], [sources], [notice…], token…, done | error

`answer` names it: a client whose host is lost asks any node again with that id and with the text it has (`shown`); the
tokens that come then are only what follows that text. Asked twice at one time, the older one ends as `Superseded`.
`notice` may come at any time: while waiting in a queue, at a hand-over, when something is degraded.
`done` always comes last unless `error` does; text shown before an `error` is a cut answer, never a finished one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tarsd.calls import Turn, Usage, Who
from tarsd.calls.memories import Sort
from tarsd.names import AnswerId, ConversationId, RecordId, Route, TraceId

MAX_QUESTION_CHARACTERS = 32_000
MAX_SHOWN_CHARACTERS = 128_000
DEFAULT_MAX_TOKENS = 512


class Question(msgspec.Struct, frozen=True):
    """What a person asks. `turns` are the open chat's recent exchanges, oldest first; the session keeps them.

    `answer`, `shown` and `sources` come from a client that goes on with an answer: its id, the text that the reader
    has, and which passages that text cites by number (`Source.passage`, in their order).
    """

    text: str
    conversation: ConversationId = ConversationId("")
    turns: tuple[Turn, ...] = ()
    language: str = ""
    trace: TraceId = TraceId("")
    max_tokens: int = 0  # 0 = as many as those who may answer allow
    temperature: float | None = None  # None = low where passages are told, higher without
    top_p: float = 0.95
    seed: int | None = None
    stop: tuple[str, ...] = ()
    answer: AnswerId = AnswerId("")  # "" = a new answer, the host names it
    shown: str = ""
    sources: tuple[RecordId, ...] = ()
    who: Who = Who()  # set by the API from the token, never by the client
    project: str = ""
    temporary: bool = False  # nothing is written of this chat


class AnswerEvent(msgspec.Struct, frozen=True, tag_field="type", tag="answer"):
    """What the answer is called: first of all events."""

    answer: AnswerId


class RouteEvent(msgspec.Struct, frozen=True, tag_field="type", tag="route"):
    """How the question is answered, decided by which rules and prepared by which node (its name)."""

    route: Route
    prepared_by: str
    language: str
    reasons: list[str]
    trace: TraceId


class Source(msgspec.Struct, frozen=True):
    """A passage that the model was given, numbered as the answer may cite it: [1], [2] …"""

    number: int
    file: str
    page: int
    start: int
    end: int
    text: str
    document: str
    passage: RecordId = RecordId("")


class SourcesEvent(msgspec.Struct, frozen=True, tag_field="type", tag="sources"):
    """The passages the answer is built on."""

    sources: list[Source]


class RememberedMemory(msgspec.Struct, frozen=True):
    """A memory or summary (with `title`) that the model was given; `when` is seconds since 1970, 0 = not known.

    `sort` other than fact: it is part of the profile, which every answer is given.
    """

    key: str
    text: str
    title: str = ""
    when: float = 0.0
    sort: Sort = "fact"


class MemoriesEvent(msgspec.Struct, frozen=True, tag_field="type", tag="memories"):
    """What is remembered and was given to the model for this answer."""

    memories: list[RememberedMemory]


class TokenEvent(msgspec.Struct, frozen=True, tag_field="type", tag="token"):
    """The next piece of the answer's text."""

    text: str


class NoticeEvent(msgspec.Struct, frozen=True, tag_field="type", tag="notice"):
    """Something a reader should know now; `text` is in the question's language.

    `waiting`: `position` questions are before this one, for about `wait_s`; told again every few seconds. Position 0: a
    model is being loaded. `handover`: another node goes on with the answer.
    `degraded`: something is missing and the answer is the best that can be done without it.
    """

    code: Literal["waiting", "handover", "degraded"]
    text: str
    position: int = 0
    wait_s: float = 0.0


class DoneEvent(msgspec.Struct, frozen=True, tag_field="type", tag="done"):
    """The answer is complete. `finish_reason` is `passages` where no node could generate and passages were shown.

    `length`: it was cut, and `limit` says by what: `max_tokens`, the model's `context`, or the `deadline`.
    """

    finish_reason: Literal["stop", "length", "passages"]
    generated_by: str
    prepared_by: str
    engine: str
    model: str
    degraded: list[str]  # empty = nothing was missing
    usage: Usage
    first_token_s: float
    total_s: float
    limit: str = ""


class ErrorEvent(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """The question failed for good: class name and sentence of `tarsd.errors`."""

    name: str
    sentence: str
    retry_after_s: float = 0.0


Event = AnswerEvent | RouteEvent | MemoriesEvent | SourcesEvent | TokenEvent | NoticeEvent | DoneEvent | ErrorEvent
