"""What crosses the chat WebSocket beside the events of `tarsd.host.events`; `tarsd.api.ws` says when each is sent.

Light to import: the commands of a person read and write the same shapes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from tarsd.host.events import Event
from tarsd.names import ConversationId

MAX_QUESTION_CHARACTERS = 32_000

ConversationText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")]
LanguageText = Annotated[str, msgspec.Meta(pattern=r"^([a-z]{2})?$")]
QuestionText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_QUESTION_CHARACTERS)]


class Ask(msgspec.Struct, frozen=True, tag_field="type", tag="ask"):
    """A question."""

    text: QuestionText
    conversation: ConversationText = ""
    language: LanguageText = ""


class Stop(msgspec.Struct, frozen=True, tag_field="type", tag="stop"):
    """End the running answer."""


class SessionEvent(msgspec.Struct, frozen=True, tag_field="type", tag="session"):
    """Which conversation the questions of this connection belong to, and which node took it."""

    conversation: ConversationId
    node: str
    version: str


class StoppedEvent(msgspec.Struct, frozen=True, tag_field="type", tag="stopped"):
    """The running answer ended because the reader asked for it."""


FromReader = Ask | Stop
ToReader = Event | SessionEvent | StoppedEvent
