"""What crosses the chat WebSocket beside the events of `tarsd.host.events`; `tarsd.api.ws` says when each is sent.

Light to import: the commands of a person read and write the same shapes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from tarsd.host.events import MAX_QUESTION_CHARACTERS, MAX_SHOWN_CHARACTERS, Event
from tarsd.names import ConversationId

MAX_SOURCES = 32
MAX_TURNS = 8
MAX_TURN_CHARACTERS = 8_000
BEAT_S = 0.5  # while an answer runs, its host says something at least so often
SILENCE_S = 2.0  # a host that says nothing for so long while it answers is lost, as between nodes

# How a client that comes from a lost node shows its pass: among the subprotocols, the one place beside the URL that a
# browser lets a page fill in. `PROTOCOL` is offered with it, and is the one that the node takes.
PROTOCOL = "tarsd"
PASS_PREFIX = "tarsd.pass."  # noqa: S105
TOKEN_PREFIX = "tarsd.token."  # noqa: S105 - a browser can set no header of a WebSocket, and a URL is kept in logs

ConversationText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")]
AnswerText = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9_-]{8,64})?$")]
PassageText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,96}:[0-9]{1,15}$")]
LanguageText = Annotated[str, msgspec.Meta(pattern=r"^([a-z]{2})?$")]
ProjectText = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9._-]{1,128})?$")]
QuestionText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_QUESTION_CHARACTERS)]


TurnText = Annotated[str, msgspec.Meta(max_length=MAX_TURN_CHARACTERS)]


class PastTurn(msgspec.Struct, frozen=True):
    """An exchange that was had before, as the client shows it."""

    question: TurnText
    answer: TurnText


Turns = Annotated[list[PastTurn], msgspec.Meta(max_length=MAX_TURNS)]


class Ask(msgspec.Struct, frozen=True, tag_field="type", tag="ask"):
    """A question. `answer`: what its answer is to be called, chosen by the client, else by the node.

    `turns`: the conversation so far, from a client that had it elsewhere; None leaves it to the node.
    `project`: the id of the project that it belongs to. `temporary`: nothing of this chat is remembered or written.
    Who asks is said by the token, never here.
    """

    text: QuestionText
    conversation: ConversationText = ""
    language: LanguageText = ""
    answer: AnswerText = ""
    turns: Turns | None = None
    project: ProjectText = ""
    temporary: bool = False


class Resume(msgspec.Struct, frozen=True, tag_field="type", tag="resume"):
    """Go on with an answer whose host was lost: all that the lost one knew of it comes from the client.

    `text`, `conversation`, `language`, `turns`, `project` and `temporary` are those of the question, `shown` is the
    text that the reader has, `sources` are the passages that it cites by number (`Source.passage` of each, in order).
    """

    answer: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    text: QuestionText
    conversation: ConversationText = ""
    language: LanguageText = ""
    turns: Turns = []
    shown: Annotated[str, msgspec.Meta(max_length=MAX_SHOWN_CHARACTERS)] = ""
    sources: Annotated[list[PassageText], msgspec.Meta(max_length=MAX_SOURCES)] = []
    project: ProjectText = ""
    temporary: bool = False


class Stop(msgspec.Struct, frozen=True, tag_field="type", tag="stop"):
    """End the running answer."""


class SessionEvent(msgspec.Struct, frozen=True, tag_field="type", tag="session"):
    """Which conversation the questions of this connection belong to, and which node took it.

    `peers`: base URLs of the other nodes where a client can go when this one is lost, the best first; `pass_` opens
    the chat there, for `passes.VALID_S` after this node was last heard.
    """

    conversation: ConversationId
    node: str
    version: str
    peers: list[str] = []
    pass_: str = msgspec.field(default="", name="pass")


class PeersEvent(msgspec.Struct, frozen=True, tag_field="type", tag="peers"):
    """`peers` of the session have changed."""

    peers: list[str]


class BeatEvent(msgspec.Struct, frozen=True, tag_field="type", tag="beat"):
    """The node is there and at work, it just has nothing to say."""


class StoppedEvent(msgspec.Struct, frozen=True, tag_field="type", tag="stopped"):
    """The running answer ended because the reader asked for it."""


FromReader = Ask | Resume | Stop
ToReader = Event | SessionEvent | PeersEvent | BeatEvent | StoppedEvent
